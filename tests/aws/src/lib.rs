//! Helpers of the tests that need the AWS SDK: emulators, a deployment without AWS, and connections
//! that inject faults.

pub mod batch_endpoint;
pub mod cgroup;
pub mod deployment;
pub mod emulators;
pub mod form;
pub mod http;
pub mod record;
pub mod run_tables;
pub mod runtime;
pub mod stack;
pub mod wire;
