//! The AWS adapters, against emulators. Each passes the conformance suite of its port.

mod api;
mod batch_endpoint;
mod data;
mod translate;
mod work;
