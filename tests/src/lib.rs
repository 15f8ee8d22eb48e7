//! End-to-end tests, fixtures and fault injection.
