//! What the end-to-end tests share: the program under test, fixtures, an independent reader of
//! workbooks, and a source server that misbehaves as told.

pub mod program;
pub mod python;
pub mod source;
pub mod workbook;
