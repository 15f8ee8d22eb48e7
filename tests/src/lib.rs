//! What the end-to-end tests share: the program under test, fixtures, an independent reader of
//! workbooks, a source server that misbehaves as told, and what stands in for AWS's services.

pub mod batch_endpoint;
pub mod deployment;
pub mod emulators;
pub mod http;
pub mod once;
pub mod program;
pub mod proxy;
pub mod python;
pub mod runtime;
pub mod source;
pub mod stack;
pub mod wire;
pub mod workbook;
