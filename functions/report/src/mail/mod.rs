//! The mail of a run: what it says, who gets it, and its bytes.

mod content;
mod late;
mod mime;
mod recipients;
mod refused;
mod wrap;

pub(crate) use content::{Content, Workbook, render};
pub(crate) use late::{Late, late};
pub(crate) use mime::{XLSX, mime};
pub(crate) use recipients::{Allowed, Recipients, address};
pub(crate) use refused::refused;

#[cfg(test)]
mod tests;
