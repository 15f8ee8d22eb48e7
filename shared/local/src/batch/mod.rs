//! AWS Batch on one machine.
