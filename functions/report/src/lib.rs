//! Stage report: the result workbook and the mail of a run, once all its jobs have ended.
//!
//! Report is invoked ([`Report::invoke`]) by the end of every job of a run, by the failure of a
//! run, by the sweep that asks whether a run has ended, and by mail that bounced. It does its work
//! once the last job has ended: it joins the chunks with their outcomes, writes the result workbook,
//! archives the rows, and sends one mail: delivered, delivered with errors, or failed.
//!
//! | file | content |
//! |---|---|
//! | `entry.rs` | the events |
//! | `stage.rs` | the work on one event: which run it is about, and whether that run can end now |
//! | `jobs.rs` | whether all jobs of a run have ended |
//! | `second_round.rs` | one further job for children that ran out of memory or got no capacity |
//! | `ending.rs` | how a run ends: its state, its workbook, what its mail says |
//! | `late.rs` | a result that cannot be created: how often report starts, and who hears of it |
//! | `build.rs`, `workbook.rs` | the workbook and the archived rows, chunk by chunk |
//! | `merge.rs` | the same for a run that continues another one |
//! | `figures.rs` | counts, times, reasons and the chart |
//! | `missing.rs` | why records have no outcome |
//! | `send.rs` | storing and sending the mail |
//! | `mail/`, `templates/` | the mail: texts, recipients, MIME |
//! | `bounce.rs` | bounced email |
//! | `rebuild.rs` | the workbook, rebuilt from the archived rows |
//! | `config.rs`, `format.rs` | settings; numbers and times as people read them |
//! | `main.rs` | the Lambda function |
//!
//! # Guarantees
//!
//! - Every run ends with exactly one kind of mail. The mail is stored before it is sent, so that
//!   sending it again sends the same message with the same Message-ID.
//! - Every row of the input is in the result, as a record or as a rejected row. A report whose
//!   totals do not match fails.
//! - Report can stop anywhere; the next event resumes. In a deployment it does not start forever: after
//!   some starts an email says that the result is late, and after two weeks the run fails.
//!
//! The terms are defined in `docs/glossary.md`.

mod advice;
mod bounce;
mod build;
mod config;
mod ending;
mod entry;
mod error;
mod figures;
mod format;
mod jobs;
mod late;
mod mail;
mod merge;
mod missing;
mod rebuild;
#[cfg(test)]
mod scale;
mod second_round;
mod send;
mod stage;
mod workbook;

pub use config::{Given, Links, ReportConfig};
pub use error::ReportError;
pub use format::{sentence, verdict};
pub use rebuild::{archive_info, rebuild_from_archive};
pub use stage::Report;
