//! One machine for AWS: a directory for S3, SQLite for DynamoDB, SNS, EventBridge and its
//! Scheduler, processes
//! for Batch, `.eml` files or a relay for SES.
//!
//! All that lasts lies under one state directory:
//!
//! | file | what |
//! |---|---|
//! | `lock` | held by the one command at work on the directory |
//! | `cloud.db` | messages under way and those that wait for their time, and jobs |
//! | `ledger.db` | runs, their claims, the ids of their jobs |
//! | `permits.db` | the next rate permit of each rate key |
//! | `tables/<run>.db` | outcomes of one run's records, and the answers that its children share |
//!
//! Every database is in WAL mode, so a command that is killed loses nothing it was told is done.

pub mod batch;
pub mod bus;
mod cloud;
mod db;
mod dispatch;
mod error;
mod ledger;
mod lock;
mod objects;
mod outbox;
mod schedule;
mod topic;

pub use cloud::Cloud;
pub use dispatch::{Dispatcher, Handler, HandlerError};
pub use error::LocalError;
pub use ledger::SqliteLedger;
pub use lock::StateLock;
pub use objects::{Bucket, DirObjects, inbox_event};
pub use outbox::{EmlOutbox, SmtpMailer};
pub use schedule::LocalScheduler;
pub use topic::LocalTopic;
