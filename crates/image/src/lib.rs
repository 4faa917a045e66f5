//! Trees: locks, ephemeral copies, templates.
