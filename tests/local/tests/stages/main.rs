//! The stages together, in one process, on local adapters.
mod batch_calls;
mod bench;
mod due;
mod entry;
mod killed_anywhere;
mod mails;
mod reevaluate;
#[path = "../../../../functions/report/tests/stage/bench.rs"]
#[allow(dead_code)]
mod report_bench;
mod sweep;
