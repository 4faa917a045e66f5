//! From a specification and the facts of the host to the steps of each stage.
