//! Operating system installers.
