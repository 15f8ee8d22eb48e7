//! The local adapters of the ports: everything that AWS provides, on one machine.
//!
//! | AWS | here |
//! |---|---|
//! | S3 | directories ([`DirObjects`]), with storage classes ([`LocalArchive`]) |
//! | DynamoDB | SQLite ([`SqliteLedger`]) |
//! | SNS | rows of a queue in SQLite ([`LocalTopic`], [`bus`]) |
//! | EventBridge Scheduler | rows with a due time ([`LocalScheduler`]) |
//! | Lambda's asynchronous invocations | [`Dispatcher`], which calls a [`Handler`] |
//! | Batch | processes ([`batch`]) |
//! | SES | `.eml` files ([`EmlOutbox`]) or an SMTP relay ([`SmtpMailer`]) |
//!
//! All state is in one directory, which one command at a time uses ([`StateLock`]):
//!
//! | file | content |
//! |---|---|
//! | `lock` | locked by the running command |
//! | `cloud.db` | queued and scheduled messages, dead letters, and jobs |
//! | `ledger.db` | runs, their claims and the ids of their jobs |
//! | `permits.db` | the next rate permit of each rate key |
//! | `tables/<run>.db` | the outcomes and shared answers of one run |
//!
//! All databases are in WAL mode and sync every commit, so that a killed command loses no change
//! that was reported as done.
//!
//! The terms are defined in `docs/glossary.md`.

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
mod private;
mod schedule;
mod scope;
mod topic;

pub use cloud::Cloud;
pub use dispatch::{Dispatcher, Handler, HandlerError};
pub use error::LocalError;
pub use ledger::SqliteLedger;
pub use lock::{Holder, StateLock};
pub use objects::{Bucket, Clock, DirObjects, LocalArchive, inbox_event};
pub use outbox::{EmlOutbox, SmtpMailer};
pub use private::create_private;
pub use schedule::LocalScheduler;
pub use scope::RunScope;
pub use topic::LocalTopic;
