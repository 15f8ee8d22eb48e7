//! What every function's `main` shares: logs, the invocation, the environment.
