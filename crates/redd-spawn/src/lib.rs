//! The command line of the container engine.
