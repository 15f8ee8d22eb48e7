//! The step kinds: http, command, sentiment.
