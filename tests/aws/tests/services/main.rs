//! The adapters for AWS, against emulators: each passes the conformance suite of its port.

mod batch_endpoint;
mod data;
mod translate;
mod work;
