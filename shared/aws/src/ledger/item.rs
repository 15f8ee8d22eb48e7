//! Conversion between items and JSON. Each field of a run is an attribute, so that an update can
//! change one field without the others.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::limits::RUN_KEPT;
use rowmill_ports::{ErrorKind, PortError};
use serde_json::{Map, Number, Value};

use super::Item;
use crate::error::failed;

/// The key attributes of `<stack>-runs`.
pub(super) const KEY: [&str; 2] = ["pk", "sk"];

/// The partition that holds all runs.
pub(super) const RUNS: &str = "run";

/// The partition of the runs that are not cleaned up.
pub(super) const OPEN: &str = "open";

/// When DynamoDB deletes an item, in epoch seconds. The template names it.
pub(super) const EXPIRES: &str = "expires";

/// The time of [`EXPIRES`] for what is recorded about a run at `at`.
pub(super) fn expiry(at: DateTime<Utc>) -> AttributeValue {
    let kept = i64::try_from(RUN_KEPT.as_secs()).unwrap_or(i64::MAX);
    number(at.timestamp().saturating_add(kept))
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The key of a run's item.
pub(super) fn run_key(id: &RunId) -> Item {
    key(RUNS, id.as_str())
}

pub(super) fn key(partition: &str, sort: &str) -> Item {
    let [pk, sk] = KEY;
    Item::from([
        (pk.to_owned(), text(partition)),
        (sk.to_owned(), text(sort)),
    ])
}

/// Converts JSON to an attribute.
pub(super) fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(value),
        Value::Number(value) => number(value),
        Value::String(value) => AttributeValue::S(value),
        Value::Array(values) => AttributeValue::L(values.into_iter().map(attribute).collect()),
        Value::Object(fields) => AttributeValue::M(attributes(fields)),
    }
}

pub(super) fn attributes(fields: Map<String, Value>) -> Item {
    let fields = fields.into_iter();
    fields
        .map(|(name, value)| (name, attribute(value)))
        .collect()
}

/// The inverse of [`attribute`]. `None` for an attribute that it never creates.
pub(super) fn json(value: AttributeValue) -> Option<Value> {
    Some(match value {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::N(value) => Value::Number(value.parse::<Number>().ok()?),
        AttributeValue::S(value) => Value::String(value),
        AttributeValue::L(values) => {
            Value::Array(values.into_iter().map(json).collect::<Option<_>>()?)
        }
        AttributeValue::M(fields) => Value::Object(object(fields)?),
        _ => return None,
    })
}

pub(super) fn object(fields: Item) -> Option<Map<String, Value>> {
    let field = |(name, value)| Some((name, json(value)?));
    fields.into_iter().map(field).collect()
}

/// An item that this program did not write: it reads everything it writes.
pub(super) fn unreadable(
    operation: &'static str,
    resource: &str,
    why: impl std::fmt::Display,
) -> PortError {
    let message = format!("unreadable item: {why}");
    PortError::new(operation, resource, ErrorKind::Invalid, message)
}

/// Returns a text attribute of an item.
pub(super) fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// Returns an integer attribute of an item.
pub(super) fn integer_of(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// The item as it is, if an update was refused because its condition is false. `None`: there is no item,
/// or the update did not ask for it.
pub(super) fn condition_failed(
    resource: &str,
    error: SdkError<UpdateItemError, HttpResponse>,
) -> Result<Option<Item>, PortError> {
    let refused = error.as_service_error();
    match refused {
        Some(UpdateItemError::ConditionalCheckFailedException(refused)) => Ok(refused.item.clone()),
        _ => Err(failed("UpdateItem", resource)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_back() {
        let value = serde_json::json!({
            "text": "ü", "empty": "", "n": 18_446_744_073_709_551_615_u64, "minus": -1,
            "yes": true, "none": null, "list": [1, "a", {"b": []}], "map": {"c": {}},
        });
        assert_eq!(json(attribute(value.clone())), Some(value));
        assert_eq!(json(AttributeValue::Ss(vec!["a".into()])), None);
    }
}
