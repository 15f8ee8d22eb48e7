//! Paged listings as streams.

use futures::{Stream, TryStreamExt, stream};
use rowmill_domain::job::{JobDetail, JobId};
use rowmill_domain::limits::DESCRIBE_JOBS_MAX;
use rowmill_domain::{RunId, RunItem};
use rowmill_ports::{JobFilter, Jobs, PortError, Runs};

/// Runs per page.
const RUNS_PAGE: usize = 100;

/// The pages of a listing. `fetch` gets the cursor of a page, `None` for the first one, and
/// returns the page and the cursor of the next one, `None` at the end.
///
/// A page is fetched when the stream is polled for it. The stream ends after the last page or the
/// first error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), rowmill_ports::PortError> {
/// use futures::TryStreamExt;
/// use rowmill_ports::PortError;
///
/// let fetch = async |cursor: Option<u32>| {
///     let first = cursor.unwrap_or(0);
///     let page = vec![first, first + 1];
///     Ok::<_, PortError>((page, (first < 4).then_some(first + 2)))
/// };
/// let pages: Vec<Vec<u32>> = rowmill_runs::pages(fetch).try_collect().await?;
/// assert_eq!(pages, [[0, 1], [2, 3], [4, 5]]);
/// # Ok(())
/// # }
/// ```
pub fn pages<P, C, E, F>(fetch: impl FnMut(Option<C>) -> F) -> impl Stream<Item = Result<P, E>>
where
    F: Future<Output = Result<(P, Option<C>), E>>,
{
    // The cursor of the next page; `Some(None)` is the first page, `None` the end.
    let first = Some(None);
    stream::try_unfold((fetch, first), async |(mut fetch, cursor)| {
        let Some(cursor) = cursor else {
            return Ok(None);
        };
        let (page, next) = fetch(cursor).await?;
        Ok(Some((page, (fetch, next.map(Some)))))
    })
}

/// The items of pages.
pub(crate) fn items<T, E>(
    pages: impl Stream<Item = Result<Vec<T>, E>>,
) -> impl Stream<Item = Result<T, E>> {
    pages
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten()
}

/// All jobs that match a filter, in the order of [`Jobs::list`].
pub fn all_jobs(
    jobs: &dyn Jobs,
    filter: &JobFilter,
) -> impl Stream<Item = Result<JobDetail, PortError>> + Send {
    items(pages(async move |after: Option<String>| {
        jobs.list(filter, after.as_deref()).await
    }))
}

/// All runs, in the order of their ids.
pub fn all_runs(runs: &dyn Runs) -> impl Stream<Item = Result<RunItem, PortError>> + Send {
    items(pages(async move |after: Option<RunId>| {
        Ok(with_next(runs.list_runs(after.as_ref(), RUNS_PAGE).await?))
    }))
}

/// The runs whose temporary data is not removed yet, in the order of their ids.
pub fn open_runs(runs: &dyn Runs) -> impl Stream<Item = Result<RunItem, PortError>> + Send {
    items(pages(async move |after: Option<RunId>| {
        Ok(with_next(runs.open_runs(after.as_ref(), RUNS_PAGE).await?))
    }))
}

/// A page of runs and the cursor of the next one.
fn with_next(page: Vec<RunItem>) -> (Vec<RunItem>, Option<RunId>) {
    let full = page.len() == RUNS_PAGE;
    let last = page.last().filter(|_| full).map(|run| run.id.clone());
    (page, last)
}

/// The details of any number of jobs, in any order. Jobs that Batch does not know are left out.
///
/// # Errors
/// The service failed.
pub async fn describe_jobs(jobs: &dyn Jobs, ids: &[JobId]) -> Result<Vec<JobDetail>, PortError> {
    let mut all = Vec::with_capacity(ids.len());
    for ids in ids.chunks(DESCRIBE_JOBS_MAX) {
        all.extend(jobs.describe(ids).await?);
    }
    Ok(all)
}
