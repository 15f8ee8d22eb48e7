//! What goes wrong between submit and Batch.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rowmill_domain::RunId;
use rowmill_domain::job::{JobDefinition, JobDetail, JobId, SubmitJob};
use rowmill_local::batch::LocalBatch;
use rowmill_ports::faulty::{Faults, Faulty, Moment};
use rowmill_ports::{JobFilter, Jobs, Result};

use crate::place::{Place, at};

async fn split(place: &Place) -> RunId {
    place.pipeline("p", "").await;
    let event = place.upload("p/a.csv", "id\n1\n2\n", &[]).await;
    place.split.handle(&event, &at("split", 0)).await.unwrap();
    rowmill_split::run_id(&event)
}

#[tokio::test]
async fn a_job_whose_answer_is_lost_is_looked_for_before_it_is_submitted_again() {
    for moment in [Moment::Before, Moment::After] {
        let mut place = Place::new();
        let run = split(&place).await;
        // The definition is registered, and then the job is submitted.
        let faulty = Faulty::new(place.batch.clone(), Faults::nth(1, moment));
        place.submit.jobs = Arc::new(faulty);
        place.submit.handle(&run, &at("submit", 0)).await.unwrap();
        assert_eq!(place.jobs().await.len(), 1, "{moment:?}");
    }
}

/// Batch, where another run's cleanup deregisters what the first job is submitted with.
struct Deregistered(Arc<LocalBatch>, Mutex<bool>);

#[async_trait]
impl Jobs for Deregistered {
    async fn register(&self, definition: &JobDefinition) -> Result<String> {
        self.0.register(definition).await
    }
    async fn definitions(&self, name_prefix: &str) -> Result<Vec<String>> {
        self.0.definitions(name_prefix).await
    }
    async fn deregister(&self, arn: &str) -> Result<()> {
        self.0.deregister(arn).await
    }
    async fn submit(&self, job: &SubmitJob) -> Result<JobId> {
        let before = std::mem::replace(&mut *self.1.lock().unwrap(), true);
        if !before {
            self.0.deregister(&job.definition).await?;
        }
        self.0.submit(job).await
    }
    async fn describe(&self, ids: &[JobId]) -> Result<Vec<JobDetail>> {
        self.0.describe(ids).await
    }
    async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&str>,
    ) -> Result<(Vec<JobDetail>, Option<String>)> {
        self.0.list(filter, after).await
    }
    async fn terminate(&self, id: &JobId, reason: &str) -> Result<()> {
        self.0.terminate(id, reason).await
    }
    async fn cancel(&self, id: &JobId, reason: &str) -> Result<()> {
        self.0.cancel(id, reason).await
    }
}

#[tokio::test]
async fn a_definition_that_is_registered_anew_is_noted_as_in_use() {
    let mut place = Place::new();
    let run = split(&place).await;
    let jobs = Deregistered(place.batch.clone(), Mutex::new(false));
    place.submit.jobs = Arc::new(jobs);
    place.submit.handle(&run, &at("submit", 0)).await.unwrap();
    assert_eq!(place.jobs().await.len(), 1);
    let active = place.batch.definitions("rowmill-").await.unwrap();
    assert_eq!(active.len(), 1);
    assert_eq!(place.item(&run).await.definitions, active);
}
