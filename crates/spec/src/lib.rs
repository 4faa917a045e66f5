//! Names, the option table and the container specification.
