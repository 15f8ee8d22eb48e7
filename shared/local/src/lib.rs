//! One machine for AWS: directory, SQLite, local Batch, outbox.
