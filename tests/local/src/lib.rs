//! Helpers of the end-to-end tests: the program under test, fixture workbooks, an independent reader of
//! workbooks, a source server and a proxy. Nothing here depends on the AWS SDK.

pub mod node;
pub mod once;
pub mod program;
pub mod proxy;
pub mod python;
pub mod server;
pub mod source;
pub mod validators;
pub mod workbook;
