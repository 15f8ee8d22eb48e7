//! End-to-end tests: they run the built program as a user does.

mod cache;
mod classify;
mod fetch;
mod fidelity;
mod golden;
mod guard;
mod interrupt;
mod office;
mod pages;
mod parameters;
mod phases;
mod plan;
mod poison;
mod preview;
mod proxy;
mod reader;
mod refused;
mod repeat;
mod report;
mod resubmitted;
mod secrets;
mod sentiment;
mod terminal;
mod translate;
mod validators;
