//! Split, submit, cleanup, the look at a run and the sweep on local adapters.
mod due;
mod entry;
mod killed_anywhere;
mod place;
mod sweep;
