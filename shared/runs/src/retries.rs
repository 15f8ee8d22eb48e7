//! The retries of a run.

use futures::TryStreamExt;
use rowmill_domain::{RunId, RunItem, keys};
use rowmill_ports::{Optional, PortError, Runs};

use crate::WorkBucket;
use crate::named::starting_with;

/// A run of an upload and its retries.
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// The last retry, or the run of the upload if there is none.
    pub latest: RunItem,
    /// The last of them that has archived rows, which the next retry continues. `None`: the workbook was
    /// refused, or the results were removed.
    pub base: Option<RunId>,
    /// The id of the next retry. `None`: there can be no further one.
    pub next: Option<RunId>,
}

/// Finds the retries of the run of an upload. `None`: there is no such run.
///
/// # Errors
/// A service failed.
pub async fn retries_of(
    runs: &dyn Runs,
    work: &WorkBucket,
    original: &RunId,
) -> Result<Option<Retries>, PortError> {
    let Some(mut latest) = runs.find_run(original).await? else {
        return Ok(None);
    };
    let mut known = vec![original.clone()];
    let mut next = original.next_retry();
    while let Some(id) = &next
        && let Some(item) = runs.find_run(id).await?
    {
        known.push(id.clone());
        latest = item;
        next = id.next_retry();
    }
    for run in known.into_iter().rev() {
        if work.head(&keys::about(&run)).await.optional()?.is_some() {
            return Ok(Some(Retries {
                latest,
                base: Some(run),
                next,
            }));
        }
    }
    Ok(Some(Retries {
        latest,
        base: None,
        next,
    }))
}

/// Finds the retries of the upload of a run, which can be a retry itself. They are also found if the run
/// of the upload was deleted and this retry of it was not.
///
/// # Errors
/// A service failed.
pub async fn retries_of_upload(
    runs: &dyn Runs,
    work: &WorkBucket,
    run: &RunId,
) -> Result<Option<Retries>, PortError> {
    match retries_of(runs, work, &run.original()).await? {
        None if run.retry_number().is_some() => retries_of(runs, work, run).await,
        found => Ok(found),
    }
}

/// Finds the runs of uploads whose id, or a retry's, starts with `prefix`. An id in full finds only its
/// own run.
///
/// # Errors
/// A service failed.
pub async fn uploads_with_prefix(runs: &dyn Runs, prefix: &str) -> Result<Vec<RunId>, PortError> {
    if let Ok(id) = prefix.parse::<RunId>()
        && runs.find_run(&id).await?.is_some()
    {
        return Ok(vec![id.original()]);
    }
    let found = starting_with(runs, prefix).map_ok(|run| run.id.original());
    let mut found: Vec<RunId> = found.try_collect().await?;
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use chrono::DateTime;
    use rowmill_domain::run::UploadSource;
    use rowmill_local::{Bucket, DirObjects, SqliteLedger};
    use rowmill_ports::Put;

    use super::*;

    #[tokio::test]
    async fn the_next_retry_continues_the_last_archived_rows() {
        let state = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(state.path()).unwrap();
        let bucket = Bucket {
            name: "work".into(),
            path: state.path().join("work"),
            versioned: false,
        };
        let work = WorkBucket::new("work", Arc::new(DirObjects::open(vec![bucket]).unwrap()));
        let id = |text: &str| text.parse::<RunId>().unwrap();
        let first = id("20261121-reviews-0123456789ab");
        let find = async || retries_of(&ledger, &work, &first).await.unwrap();
        assert_eq!(find().await, None);

        let create = async |id: RunId| {
            let source = UploadSource {
                bucket: "inbox".into(),
                key: "reviews/a.csv".into(),
                version: "1".into(),
                size: 1,
                uploaded: DateTime::UNIX_EPOCH,
            };
            let item = RunItem::new(id, source, DateTime::UNIX_EPOCH);
            assert!(ledger.create_run(&item).await.unwrap());
        };
        let archive = async |id: &RunId| {
            let key = keys::about(id);
            work.put(&key, Bytes::new(), Put::default()).await.unwrap();
        };
        create(first.clone()).await;
        let none = find().await.unwrap();
        assert_eq!((none.latest.id, none.base), (first.clone(), None));

        archive(&first).await;
        let second = first.next_retry().unwrap();
        create(second.clone()).await;
        let found = find().await.unwrap();
        assert_eq!(
            (found.latest.id, found.base),
            (second.clone(), Some(first.clone()))
        );
        assert_eq!(found.next, second.next_retry());
        archive(&second).await;
        assert_eq!(find().await.unwrap().base, Some(second.clone()));

        create(id("20261121-reviews-01ffffffffff")).await;
        let with = async |prefix| uploads_with_prefix(&ledger, prefix).await.unwrap();
        assert_eq!(
            with("20261121-reviews-0123").await,
            std::slice::from_ref(&first)
        );
        assert_eq!(with(second.as_str()).await, std::slice::from_ref(&first));
        assert_eq!(with(first.as_str()).await, std::slice::from_ref(&first));
        assert_eq!(with("20261121-reviews-01").await.len(), 2);
        assert_eq!(with("2027").await, []);
    }
}
