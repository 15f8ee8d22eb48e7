//! The stages together, in one process, on local adapters.
mod bench;
mod due;
mod entry;
mod killed_anywhere;
mod sweep;
