//! The engine: facts, stages, supervisor.
