//! Runs: one item each.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use chrono::{DateTime, Utc};
use rowmill_domain::{RunId, RunItem, RunState};
use rowmill_ports::{ErrorKind, PortError, Result, RunPatch};
use serde_json::Value;

use super::item::{KEY, RUNS, attribute, attributes, object, run_key, text, unreadable};
use super::{DynamoLedger, Item};
use crate::error::failed;

impl DynamoLedger {
    pub(super) async fn put_run(&self, run: &RunItem) -> Result<bool> {
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

    pub(super) async fn get_run(&self, id: &RunId) -> Result<Option<RunItem>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.runs)
            .set_key(Some(run_key(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(failed("GetItem", id.as_str()))?;
        let read = |item| read_run("GetItem", id.as_str(), item);
        answer.item.map(read).transpose()
    }

    pub(super) async fn query_runs(
        &self,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<Vec<RunItem>> {
        let mut runs = Vec::new();
        // Sorts before every id.
        let mut after = after.map_or("-", RunId::as_str).to_owned();
        while runs.len() < limit {
            let answer = self
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
            for item in answer.items.unwrap_or_default() {
                runs.push(read_run("Query", &self.runs, item)?);
            }
            match (answer.last_evaluated_key, runs.last()) {
                (Some(_), Some(last)) => after = last.id.as_str().to_owned(),
                _ => break,
            }
        }
        Ok(runs)
    }

    pub(super) async fn patch_run(
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
            // `state` is a reserved word, and so may any other field's name be.
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
        // From no state: nothing matches, and the answer says whether there is such a run.
        let from = match states.is_empty() {
            true => "attribute_not_exists(#state)".to_owned(),
            false => states.join(" OR "),
        };
        let updated = update
            .update_expression(format!("SET {}", sets.join(", ")))
            .condition_expression(format!("attribute_exists(pk) AND ({from})"))
            .send()
            .await;
        let item = match updated {
            Ok(_) => return Ok(true),
            Err(SdkError::ServiceError(error)) => match error.err() {
                UpdateItemError::ConditionalCheckFailedException(refused) => refused.item.clone(),
                _ => {
                    return Err(failed("UpdateItem", id.as_str())(SdkError::ServiceError(
                        error,
                    )));
                }
            },
            Err(error) => return Err(failed("UpdateItem", id.as_str())(error)),
        };
        let Some(item) = item else {
            let kind = ErrorKind::NotFound;
            return Err(PortError::new(
                "UpdateItem",
                id.as_str(),
                kind,
                "no such run",
            ));
        };
        // The SDK tries again where the answer was lost: then the item is as this call has made
        // it, at this very time, and it is not another one that came first.
        let ours =
            |(name, value): (&String, &Value)| item.get(name) == Some(&attribute(value.clone()));
        Ok(fields.iter().all(ours))
    }
}

/// For `map_err`: a run that is no JSON.
fn invalid(operation: &'static str, id: &RunId) -> impl FnOnce(serde_json::Error) -> PortError {
    move |error| PortError::new(operation, id.as_str(), ErrorKind::Invalid, error)
}

fn read_run(operation: &'static str, resource: &str, mut item: Item) -> Result<RunItem> {
    for name in KEY {
        item.remove(name);
    }
    let fields = object(item)
        .ok_or_else(|| unreadable(operation, resource, "an attribute of another kind"))?;
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| unreadable(operation, resource, error))
}
