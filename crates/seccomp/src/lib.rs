//! System call groups and the BPF filter compiler.
