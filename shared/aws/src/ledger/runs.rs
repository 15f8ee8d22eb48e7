//! Runs and jobs, one item each.

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Select};
use chrono::{DateTime, Utc};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_ports::{ErrorKind, JobRecord, PortError, Result, RunPatch, Runs};
use serde_json::Value;

use super::item::{
    KEY, RUNS, attribute, attributes, key, object, run_key, text, text_of, unreadable,
};
use super::{DynamoLedger, Item};
use crate::error::failed;

/// Start of a job's sort key.
const JOB: &str = "job#";

#[async_trait]
impl Runs for DynamoLedger {
    async fn create_run(&self, run: &RunItem) -> Result<bool> {
        let json = serde_json::to_value(run).map_err(invalid("PutItem", &run.id))?;
        let Value::Object(fields) = json else {
            return Err(unreadable("PutItem", run.id.as_str(), "a run is an object"));
        };
        let mut item = attributes(fields);
        item.extend(run_key(&run.id));
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
        // `-` sorts before every id.
        let mut after = after.map_or("-", RunId::as_str).to_owned();
        while runs.len() < limit {
            let response = self
                .client
                .query()
                .table_name(&self.runs)
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":pk", text(RUNS))
                .expression_attribute_values(":after", text(&after))
                .limit(i32::try_from(limit - runs.len()).unwrap_or(i32::MAX))
                .consistent_read(true)
                .send()
                .await
                .map_err(failed("Query", &self.runs))?;
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
            return Ok(true);
        };
        let Some(UpdateItemError::ConditionalCheckFailedException(refused)) =
            error.as_service_error()
        else {
            return Err(failed("UpdateItem", id.as_str())(error));
        };
        let Some(item) = &refused.item else {
            let (kind, message) = (ErrorKind::NotFound, "no such run");
            return Err(PortError::new("UpdateItem", id.as_str(), kind, message));
        };
        // The SDK retries after a lost response. If the first attempt took effect, the item is
        // exactly as this call made it, down to `updated`.
        let ours =
            |(name, value): (&String, &Value)| item.get(name) == Some(&attribute(value.clone()));
        Ok(fields.iter().all(ours))
    }

    async fn record_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        match self.write_job(id, name, job, "SET id = :id").await? {
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
        self.write_job(id, name, job, "SET id = :id, ended = :true")
            .await?;
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
        update: &str,
    ) -> Result<Option<JobId>> {
        let mut write = self
            .client
            .update_item()
            .table_name(&self.runs)
            .set_key(Some(key(id.as_str(), &format!("{JOB}{name}"))))
            .update_expression(update)
            .condition_expression("attribute_not_exists(id) OR id = :id")
            .expression_attribute_values(":id", text(&job.0))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if update.contains(":true") {
            write = write.expression_attribute_values(":true", AttributeValue::Bool(true));
        }
        let Err(error) = write.send().await else {
            return Ok(None);
        };
        if let Some(UpdateItemError::ConditionalCheckFailedException(refused)) =
            error.as_service_error()
        {
            let recorded = refused.item.as_ref().and_then(|item| text_of(item, "id"));
            return Ok(Some(JobId(recorded.unwrap_or_default().to_owned())));
        }
        Err(failed("UpdateItem", id.as_str())(error))
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

/// For `map_err`: a run that could not be serialized.
fn invalid(operation: &'static str, id: &RunId) -> impl FnOnce(serde_json::Error) -> PortError {
    move |error| PortError::new(operation, id.as_str(), ErrorKind::Invalid, error)
}

fn read_run(operation: &'static str, resource: &str, mut item: Item) -> Result<RunItem> {
    for name in KEY {
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
