//! A small D-Bus client.
