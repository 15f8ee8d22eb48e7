//! One machine for AWS: the local adapters under a state directory, and the stages wired to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use rowmill_cleanup::Cleanup;
use rowmill_domain::config;
use rowmill_domain::event::Invocation;
use rowmill_domain::limits::ATTACH_DEFAULT;
use rowmill_domain::message::Message;
use rowmill_events::{ToCleanup, ToReport};
use rowmill_local::batch::{BatchConfig, LocalBatch};
use rowmill_local::bus::{Chaos, Target};
use rowmill_local::{
    Bucket, Cloud, DirObjects, Dispatcher, EmlOutbox, Handler, HandlerError, LocalError, LocalTopic,
    SqliteLedger, StateLock,
};
use rowmill_report::{Report, ReportConfig, ReportEvent};
use rowmill_split::Split;
use rowmill_submit::{Submit, SubmitConfig};
use serde_json::Value;

/// The bucket that workbooks are put into; versioned.
pub(crate) const INBOX: &str = "inbox";
/// The bucket of everything else.
pub(crate) const WORK: &str = "work";

/// What stands for the deployment's name, the queue's and the image's on one machine.
const STACK: &str = "rowmill";
/// Whom mail is from.
const FROM: &str = "rowmill@localhost";
/// Whom mail is to where a pipeline names nobody.
const TO: &str = "you@localhost";

/// The buckets under a state directory.
pub(crate) fn buckets(state: &Path) -> DirObjects {
    let bucket = |name: &str, versioned| Bucket {
        name: name.to_owned(),
        path: state.join(name),
        versioned,
    };
    DirObjects::open(vec![bucket(INBOX, true), bucket(WORK, false)])
}
