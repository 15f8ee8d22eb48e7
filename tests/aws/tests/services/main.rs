//! The AWS adapters, against emulators. Each passes the conformance suite of its port.

mod api;
mod batch_endpoint;
mod command_line;
mod data;
mod translate;
mod work;
