//! Jobs: one item each; what is asked of all of them is a query.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Select};
use rowmill_domain::RunId;
use rowmill_domain::job::{JobId, JobName};
use rowmill_ports::{ErrorKind, JobRecord, PortError, Result};

use super::item::{key, text, text_of, unreadable};
use super::{DynamoLedger, Item};
use crate::error::failed;

const PREFIX: &str = "job#";

fn job_key(id: &RunId, name: &JobName) -> Item {
    key(id.as_str(), &format!("{PREFIX}{name}"))
}

impl DynamoLedger {
    pub(super) async fn keep_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        match self.write_job(id, name, job, "SET id = :id").await? {
            None => Ok(()),
            Some(kept) => {
                let message = format!("{name} is job {kept} already, and not {job}");
                Err(PortError::new(
                    "UpdateItem",
                    id.as_str(),
                    ErrorKind::Conflict,
                    message,
                ))
            }
        }
    }

    /// A stray job of the same name is not the one that counts: then nothing changes.
    pub(super) async fn end_job(&self, id: &RunId, name: &JobName, job: &JobId) -> Result<()> {
        let update = "SET id = :id, ended = :true";
        self.write_job(id, name, job, update).await.map(|_| ())
    }

    /// Writes a job where none or the same is kept; else gives the one that is.
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
            .set_key(Some(job_key(id, name)))
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
        if let SdkError::ServiceError(refused) = &error
            && let UpdateItemError::ConditionalCheckFailedException(refused) = refused.err()
        {
            let kept = refused.item.as_ref().and_then(|item| text_of(item, "id"));
            return Ok(Some(JobId(kept.unwrap_or_default().to_owned())));
        }
        Err(failed("UpdateItem", id.as_str())(error))
    }

    fn query_of(&self, id: &RunId) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.runs)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(id.as_str()))
            .expression_attribute_values(":prefix", text(PREFIX))
            .consistent_read(true)
    }

    /// Counted by a read that sees all writes before it, so that of several ends at once the last
    /// one to be written sees all.
    pub(super) async fn count_ended(&self, id: &RunId) -> Result<u32> {
        let query = self
            .query_of(id)
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

    pub(super) async fn query_jobs(&self, id: &RunId) -> Result<Vec<JobRecord>> {
        let mut pages = self.query_of(id).into_paginator().send();
        let mut jobs = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("Query", id.as_str()))?;
            for item in page.items() {
                jobs.push(read_job(id, item)?);
            }
        }
        Ok(jobs)
    }
}

fn read_job(run: &RunId, item: &Item) -> Result<JobRecord> {
    let name = text_of(item, "sk").and_then(|sk| sk.strip_prefix(PREFIX));
    let (Some(name), Some(id)) = (name, text_of(item, "id")) else {
        return Err(unreadable(
            "Query",
            run.as_str(),
            "a job without name or id",
        ));
    };
    Ok(JobRecord {
        name: JobName(name.to_owned()),
        id: JobId(id.to_owned()),
        ended: item.contains_key("ended"),
    })
}
