//! Uploads that started no run.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use futures::future;
use rowmill_domain::event::{Invocation, ObjectCreated};
use rowmill_domain::run::Work;
use rowmill_domain::{RunId, RunItem};
use rowmill_ports::ObjectInfo;

use crate::error::CleanupError;
use crate::finding::Finding;
use crate::stage::Cleanup;
use crate::stalled::before;

/// The age up to which uploads are looked for. An older one is a dead letter, whose alarm the operator
/// has seen.
const LOOKED_FOR: Duration = Duration::from_secs(3 * 24 * 3600);
/// Runs that are looked up concurrently.
const AT_ONCE: usize = 8;

impl Cleanup {
    /// The uploads of the last days that started no run, although split has had enough time.
    pub(crate) async fn ignored_uploads(
        &self,
        open: &BTreeMap<&RunId, &RunItem>,
        cx: &Invocation,
    ) -> Result<Vec<Finding>, CleanupError> {
        let since = before(cx.now, LOOKED_FOR);
        let handled_by = before(cx.now, self.config.stalled_after);
        let bucket = self.inbox.name();
        let mut uploads = self.inbox.put_since(since).await?;
        uploads.retain(|object| object.modified <= handled_by && !object.key.ends_with('/'));
        let mut found = Vec::new();
        for uploads in uploads.chunks(AT_ONCE) {
            let ignored = uploads
                .iter()
                .map(|object| self.ignored(bucket, object, open, cx));
            found.extend(future::try_join_all(ignored).await?.into_iter().flatten());
        }
        Ok(found)
    }

    async fn ignored(
        &self,
        bucket: &str,
        object: &ObjectInfo,
        open: &BTreeMap<&RunId, &RunItem>,
        cx: &Invocation,
    ) -> Result<Option<Finding>, CleanupError> {
        let upload = ObjectCreated {
            bucket: bucket.to_owned(),
            key: object.key.clone(),
            version: object.version.as_ref().unwrap_or(&object.etag).clone(),
            versioned: object.version.is_some(),
            size: object.size,
            time: object.modified,
        };
        let run = upload.run_id();
        // S3 says in the event when an upload was complete, and in listings when it began.
        let later = ObjectCreated {
            time: object.modified + TimeDelta::days(1),
            ..upload.clone()
        };
        for id in [&run, &later.run_id()] {
            if open.contains_key(id)
                || self.runs.find_run(id).await?.is_some()
                || self.is_held(id, Work::Split, cx).await?
            {
                return Ok(None);
            }
        }
        Ok(Some(Finding::UploadIgnored { run, upload }))
    }
}
