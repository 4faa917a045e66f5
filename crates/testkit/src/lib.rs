//! Fixtures and probes for tests with real effects.
