//! Runs and jobs, one item each.

use async_trait::async_trait;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Select};
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, future, stream};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::result_storage::{ResultState, ResultStorage};
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_ports::{ErrorKind, JobRecord, PortError, Result, RunPatch, Runs};
use serde_json::Value;

use super::item::{
    EXPIRES, KEY, OPEN, RUNS, attribute, attributes, condition_failed, expiry, key, object,
    run_key, text, text_of, unreadable,
};
use super::{DynamoLedger, Item};
use crate::error::failed;

/// The partition that lists the runs by their time, one item without further attributes for each.
const NEWEST: &str = "newest";
/// The attribute with the storage of a run's result.
const STORAGE: &str = "storage";

/// Runs that are read at the same time.
const FIND_AT_ONCE: usize = 16;

/// `<nanoseconds since the epoch>#<run>`: the sort key in [`NEWEST`].
fn newest(created: DateTime<Utc>, id: &RunId) -> String {
    let nanos = created.timestamp_nanos_opt().unwrap_or_default();
    format!("{nanos:020}#{id}")
}

fn newest_key(created: DateTime<Utc>, id: &RunId) -> Item {
    key(NEWEST, &newest(created, id))
}

/// Start of a job's sort key.
const JOB: &str = "job#";
/// Sorts before every run id.
const BEFORE_ALL: &str = "-";

#[async_trait]
impl Runs for DynamoLedger {
    async fn create_run(&self, run: &RunItem) -> Result<bool> {
        let json = serde_json::to_value(run).map_err(invalid("PutItem", &run.id))?;
        let Value::Object(fields) = json else {
            return Err(unreadable("PutItem", run.id.as_str(), "a run is an object"));
        };
        // Before the run, so that no run is forgotten. An item for a run that is over is removed when it is
        // read.
        self.client
            .put_item()
            .table_name(&self.runs)
            .set_item(Some(key(OPEN, run.id.as_str())))
            .item(EXPIRES, expiry(run.created))
            .send()
            .await
            .map_err(failed("PutItem", run.id.as_str()))?;
        let mut item = attributes(fields);
        item.extend(run_key(&run.id));
        // First: without the run it is skipped, and a run without it would never be listed.
        self.client
            .put_item()
            .table_name(&self.runs)
            .set_item(Some(newest_key(run.created, &run.id)))
            .item(EXPIRES, expiry(run.created))
            .send()
            .await
            .map_err(failed("PutItem", run.id.as_str()))?;
        let put = self
            .client
            .put_item()
            .table_name(&self.runs)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error))
                if matches!(
                    error.err(),
                    PutItemError::ConditionalCheckFailedException(_)
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed("PutItem", run.id.as_str())(error)),
        }
    }

    async fn find_run(&self, id: &RunId) -> Result<Option<RunItem>> {
        let response = self
            .client
            .get_item()
            .table_name(&self.runs)
            .set_key(Some(run_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed("GetItem", id.as_str()))?;
        let read = |item| read_run("GetItem", id.as_str(), item);
        response.item.map(read).transpose()
    }

    async fn list_runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        let mut runs = Vec::new();
        let mut after = after.map_or(BEFORE_ALL, RunId::as_str).to_owned();
        while runs.len() < limit {
            let query = self.partition_query(RUNS, &after, limit - runs.len());
            let response = query.send().await.map_err(failed("Query", &self.runs))?;
            for item in response.items.unwrap_or_default() {
                runs.push(read_run("Query", &self.runs, item)?);
            }
            match (response.last_evaluated_key, runs.last()) {
                (Some(_), Some(last)) => after = last.id.as_str().to_owned(),
                _ => break,
            }
        }
        Ok(runs)
    }

    async fn newest_runs(
        &self,
        before: Option<&(DateTime<Utc>, RunId)>,
        limit: usize,
    ) -> Result<Vec<RunItem>> {
        let mut runs = Vec::new();
        // `~` sorts after every key.
        let mut before = before.map_or("~".to_owned(), |(created, id)| newest(*created, id));
        while runs.len() < limit {
            let response = self
                .client
                .query()
                .table_name(&self.runs)
                .key_condition_expression("pk = :pk AND sk < :before")
                .expression_attribute_values(":pk", text(NEWEST))
                .expression_attribute_values(":before", text(&before))
                .scan_index_forward(false)
                .limit(i32::try_from(limit - runs.len()).unwrap_or(i32::MAX))
                .consistent_read(true)
                .send()
                .await
                .map_err(failed("Query", &self.runs))?;
            let keys: Vec<String> = response
                .items
                .unwrap_or_default()
                .iter()
                .filter_map(|item| text_of(item, "sk").map(str::to_owned))
                .collect();
            let found: Vec<Option<RunItem>> = stream::iter(keys.clone())
                .map(async |key: String| {
                    let id = key.split_once('#').and_then(|(_, id)| id.parse().ok());
                    let id: RunId =
                        id.ok_or_else(|| unreadable("Query", &self.runs, "a key without a run"))?;
                    let run = self.find_run(&id).await?;
                    // A creation that lost against another one leaves a key with another time.
                    Ok::<_, PortError>(run.filter(|run| newest(run.created, &id) == key))
                })
                .buffered(FIND_AT_ONCE)
                .try_collect()
                .await?;
            runs.extend(found.into_iter().flatten());
            match (response.last_evaluated_key, keys.into_iter().next_back()) {
                (Some(_), Some(last)) => before = last,
                _ => break,
            }
        }
        Ok(runs)
    }

    async fn open_runs(&self, after: Option<&RunId>, limit: usize) -> Result<Vec<RunItem>> {
        let mut runs = Vec::new();
        let mut after = after.map_or(BEFORE_ALL, RunId::as_str).to_owned();
        while runs.len() < limit {
            let query = self.partition_query(OPEN, &after, limit - runs.len());
            let response = query.send().await.map_err(failed("Query", &self.runs))?;
            let items = response.items.unwrap_or_default();
            let ids = items.iter().map(|item| {
                let id = text_of(item, "sk").and_then(|id| id.parse::<RunId>().ok());
                id.ok_or_else(|| unreadable("Query", &self.runs, "an open run without an id"))
            });
            let ids = ids.collect::<Result<Vec<_>>>()?;
            for ids in ids.chunks(FIND_AT_ONCE) {
                let found = future::try_join_all(ids.iter().map(|id| self.find_run(id)));
                for (id, run) in ids.iter().zip(found.await?) {
                    match run {
                        Some(run) if run.cleaned.is_none() => runs.push(run),
                        // Its upload was delivered again afterwards.
                        Some(_) => self.close(id).await?,
                        // It is being created.
                        None => {}
                    }
                }
            }
            match (response.last_evaluated_key, ids.last()) {
                (Some(_), Some(last)) => after = last.as_str().to_owned(),
                _ => break,
            }
        }
        Ok(runs)
    }

    async fn delete_run(&self, id: &RunId) -> Result<()> {
        // Jobs and claims.
        let mut items = self
            .client
            .query()
            .table_name(&self.runs)
            .key_condition_expression("pk = :pk")
            .projection_expression("pk, sk")
            .expression_attribute_values(":pk", text(id.as_str()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut keys = Vec::new();
        while let Some(item) = items.next().await {
            keys.push(item.map_err(failed("Query", id.as_str()))?);
        }
        if let Some(run) = self.find_run(id).await? {
            keys.push(newest_key(run.created, id));
        }
        keys.push(key(OPEN, id.as_str()));
        // Last: until then, the deletion can be repeated.
        keys.push(run_key(id));
        for key in keys {
            self.client
                .delete_item()
                .table_name(&self.runs)
                .set_key(Some(key))
                .send()
                .await
                .map_err(failed("DeleteItem", id.as_str()))?;
        }
        Ok(())
    }

    async fn update_run(
        &self,
        id: &RunId,
        from: &[RunState],
        patch: RunPatch,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let fields = patch.fields(now).map_err(invalid("UpdateItem", id))?;
        let mut update = self
            .client
            .update_item()
            .table_name(&self.runs)
            .set_key(Some(run_key(id)))
            // `state` is a reserved word, and other field names may be.
            .expression_attribute_names("#state", "state")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut sets = Vec::new();
        for (n, (name, value)) in fields.iter().enumerate() {
            sets.push(format!("#f{n} = :f{n}"));
            update = update
                .expression_attribute_names(format!("#f{n}"), name)
                .expression_attribute_values(format!(":f{n}"), attribute(value.clone()));
        }
        if let Some(cleaned) = patch.cleaned {
            sets.push("#expires = :expires".to_owned());
            update = update
                .expression_attribute_names("#expires", EXPIRES)
                .expression_attribute_values(":expires", expiry(cleaned));
        }
        let mut states = Vec::new();
        for (n, state) in from.iter().enumerate() {
            states.push(format!("#state = :s{n}"));
            update = update.expression_attribute_values(format!(":s{n}"), text(state.name()));
        }
        // Without states nothing matches, and the response says whether the run exists.
        let from = match states.is_empty() {
            true => "attribute_not_exists(#state)".to_owned(),
            false => states.join(" OR "),
        };
        let updated = update
            .update_expression(format!("SET {}", sets.join(", ")))
            .condition_expression(format!("attribute_exists(pk) AND ({from})"))
            .send()
            .await;
        let Err(error) = updated else {
            if patch.cleaned.is_some() {
                self.close(id).await?;
            }
            return Ok(true);
        };
        let item = refused_run(id, error)?;
        // The SDK retries after a lost response. If the first attempt took effect, the item is
        // exactly as this call made it, down to `updated`.
        let ours =
            |(name, value): (&String, &Value)| item.get(name) == Some(&attribute(value.clone()));
        Ok(fields.iter().all(ours))
    }

    async fn update_result(
        &self,
        id: &RunId,
        from: &[ResultState],
        storage: &ResultStorage,
    ) -> Result<bool> {
        let json = serde_json::to_value(storage).map_err(invalid("UpdateItem", id))?;
        let storage = attribute(json);
        let mut update = self
            .client
            .update_item()
            .table_name(&self.runs)
            .set_key(Some(run_key(id)))
            // `storage` and `state` are reserved words.
            .expression_attribute_names("#storage", STORAGE)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":storage", storage.clone())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut states = Vec::new();
        for (n, state) in from.iter().enumerate() {
            states.push(format!("#storage.#state = :s{n}"));
            update = update.expression_attribute_values(format!(":s{n}"), text(state.name()));
        }
        if from.contains(&ResultState::Hot) {
            states.push("attribute_not_exists(#storage)".to_owned());
        }
        let updated = update
            .update_expression("SET #storage = :storage")
            .condition_expression(format!(
                "attribute_exists(pk) AND ({})",
                states.join(" OR ")
            ))
            .send()
            .await;
        let Err(error) = updated else {
            return Ok(true);
        };
        let item = refused_run(id, error)?;
        // As in `update_run`: the SDK retries after a lost response.
        Ok(item.get(STORAGE) == Some(&storage))
    }

    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        match self.write_job(id, name, job, false).await? {
            None => Ok(()),
            Some(recorded) => {
                let message = format!("{name} is already recorded as {recorded}, not {job}");
                Err(PortError::new(
                    "UpdateItem",
                    id.as_str(),
                    ErrorKind::Conflict,
                    message,
                ))
            }
        }
    }

    async fn job_ended(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<u32> {
        // Changes nothing if another id is recorded: a stray job with the same name does not
        // count.
        self.write_job(id, name, job, true).await?;
        // A consistent read after the write: of several concurrent calls, the last one to write
        // counts all.
        let query = self
            .job_query(id)
            .filter_expression("attribute_exists(ended)")
            .select(Select::Count);
        let mut pages = query.into_paginator().send();
        let mut ended = 0_u32;
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("Query", id.as_str()))?;
            ended = ended.saturating_add_signed(page.count());
        }
        Ok(ended)
    }

    async fn jobs(&self, id: &RunId) -> Result<Vec<JobRecord>> {
        let mut items = self.job_query(id).into_paginator().items().send();
        let mut jobs = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(failed("Query", id.as_str()))?;
            jobs.push(read_job(id, &item)?);
        }
        Ok(jobs)
    }
}

impl DynamoLedger {
    /// Writes a job if its name has no id or the same. Otherwise returns the recorded id.
    async fn write_job(
        &self,
        id: &RunId,
        name: &JobName,
        job: &JobId,
        ended: bool,
    ) -> Result<Option<JobId>> {
        let update = match ended {
            false => "SET id = :id, #expires = :expires",
            true => "SET id = :id, #expires = :expires, ended = :true",
        };
        let mut write = self
            .client
            .update_item()
            .table_name(&self.runs)
            .set_key(Some(key(id.as_str(), &format!("{JOB}{name}"))))
            .update_expression(update)
            .condition_expression("attribute_not_exists(id) OR id = :id")
            .expression_attribute_names("#expires", EXPIRES)
            .expression_attribute_values(":id", text(&job.0))
            .expression_attribute_values(":expires", expiry(Utc::now()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if ended {
            write = write.expression_attribute_values(":true", AttributeValue::Bool(true));
        }
        let Err(error) = write.send().await else {
            return Ok(None);
        };
        let item = condition_failed(id.as_str(), error)?;
        let recorded = item.as_ref().and_then(|item| text_of(item, "id"));
        Ok(Some(JobId(recorded.unwrap_or_default().to_owned())))
    }

    /// Items of a partition in the order of their sort keys.
    fn partition_query(&self, of: &str, after: &str, limit: usize) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.runs)
            .key_condition_expression("pk = :pk AND sk > :after")
            .expression_attribute_values(":pk", text(of))
            .expression_attribute_values(":after", text(after))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .consistent_read(true)
    }

    /// Notes that a run is cleaned up.
    async fn close(&self, id: &RunId) -> Result<()> {
        self.client
            .delete_item()
            .table_name(&self.runs)
            .set_key(Some(key(OPEN, id.as_str())))
            .send()
            .await
            .map_err(failed("DeleteItem", id.as_str()))?;
        Ok(())
    }

    fn job_query(&self, id: &RunId) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.runs)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(id.as_str()))
            .expression_attribute_values(":prefix", text(JOB))
            .consistent_read(true)
    }
}

/// The run as it is, after a change of it that its state does not allow.
fn refused_run(id: &RunId, error: SdkError<UpdateItemError, HttpResponse>) -> Result<Item> {
    condition_failed(id.as_str(), error)?.ok_or_else(|| {
        PortError::new(
            "UpdateItem",
            id.as_str(),
            ErrorKind::NotFound,
            "no such run",
        )
    })
}

/// For `map_err`: a run that could not be serialized.
fn invalid(operation: &'static str, id: &RunId) -> impl FnOnce(serde_json::Error) -> PortError {
    move |error| PortError::new(operation, id.as_str(), ErrorKind::Invalid, error)
}

fn read_run(operation: &'static str, resource: &str, mut item: Item) -> Result<RunItem> {
    for name in KEY.into_iter().chain([EXPIRES]) {
        item.remove(name);
    }
    let fields = object(item)
        .ok_or_else(|| unreadable(operation, resource, "an attribute of an unexpected type"))?;
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| unreadable(operation, resource, error))
}

fn read_job(run: &RunId, item: &Item) -> Result<JobRecord> {
    let name = text_of(item, "sk").and_then(|sk| sk.strip_prefix(JOB));
    let (Some(name), Some(id)) = (name, text_of(item, "id")) else {
        let why = "a job without name or id";
        return Err(unreadable("Query", run.as_str(), why));
    };
    Ok(JobRecord {
        name: JobName(name.to_owned()),
        id: JobId(id.to_owned()),
        ended: item.contains_key("ended"),
    })
}
