//! What bad input gets: damaged files of the registry, crowded sockets, callers without rights.

mod backlog;
mod callers;
mod machines;
mod scene;
mod states;
