//! Notifications of S3: uploads, directly or through SNS, and restored copies of archived objects.

use aws_lambda_events::event::s3::{S3Event, S3EventRecord};
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rowmill_domain::event::ObjectCreated;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{EventError, LOCAL_REGION, sns, time_text};

const EXPECTED: &str = "S3 event notification";

/// Characters that S3 does not encode in the keys of notifications: those of Java's URLEncoder, and
/// `/`.
const KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'*')
    .remove(b'_')
    .remove(b' ');

/// Parses a notification of S3, received directly or through SNS, and returns the objects that were
/// created. Other notifications (deletions, S3's test message) contain none.
///
/// # Errors
/// The payload is not a notification, or a key is not UTF-8.
pub fn s3_created(payload: &Value) -> Result<Vec<ObjectCreated>, EventError> {
    if sns::is_sns(payload) {
        let mut all = Vec::new();
        for text in sns::texts(payload)? {
            let inner = serde_json::from_str(&text).map_err(EventError::malformed(EXPECTED))?;
            all.extend(direct(&inner)?);
        }
        return Ok(all);
    }
    direct(payload)
}

pub(crate) fn direct(payload: &Value) -> Result<Vec<ObjectCreated>, EventError> {
    // S3 sends this event once, when the notification is configured.
    if payload["Event"] == "s3:TestEvent" {
        return Ok(Vec::new());
    }
    let event = S3Event::deserialize(payload).map_err(EventError::malformed(EXPECTED))?;
    event
        .records
        .into_iter()
        .filter(is_creation)
        .map(created)
        .collect()
}

fn is_creation(record: &S3EventRecord) -> bool {
    let name = record.event_name.as_deref().unwrap_or_default();
    // The configuration uses the prefix `s3:`, but the notification does not.
    let name = name.strip_prefix("s3:").unwrap_or(name);
    name.starts_with("ObjectCreated:")
}

fn created(record: S3EventRecord) -> Result<ObjectCreated, EventError> {
    let time = record.event_time;
    let object = record.s3.object;
    let bucket = record.s3.bucket.name.unwrap_or_default();
    if bucket.is_empty() {
        return Err(EventError::field(EXPECTED, "s3.bucket.name", "missing"));
    }
    let key = decode_key(&object.key.unwrap_or_default())?;
    let size = u64::try_from(object.size.unwrap_or(0))
        .map_err(|_| EventError::field(EXPECTED, "s3.object.size", object.size))?;
    // A bucket with suspended versioning sends the text `null`.
    let version = object.version_id.filter(|v| !v.is_empty() && v != "null");
    let versioned = version.is_some();
    let version = version
        .or(object.e_tag)
        .ok_or_else(|| EventError::field(EXPECTED, "s3.object.eTag", "missing"))?;
    Ok(ObjectCreated {
        bucket,
        key,
        version: version.trim_matches('"').to_owned(),
        versioned,
        size,
        time,
    })
}

/// Decodes a form-encoded key: a space is `+`, other characters are percent-encoded UTF-8.
fn decode_key(text: &str) -> Result<String, EventError> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(key) if !key.is_empty() => Ok(key.into_owned()),
        _ => Err(EventError::field(EXPECTED, "s3.object.key", text)),
    }
}

fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string().replace(' ', "+")
}

/// Parses a notification of S3 about restored copies of archived objects, and returns the locations
/// (bucket and key) of the objects whose copy is complete or has expired. Other notifications contain
/// none.
///
/// # Errors
/// The payload is not a notification, or a key is not UTF-8.
pub fn s3_restored(payload: &Value) -> Result<Vec<(String, String)>, EventError> {
    if payload["Event"] == "s3:TestEvent" {
        return Ok(Vec::new());
    }
    let event = S3Event::deserialize(payload).map_err(EventError::malformed(EXPECTED))?;
    let restored = event.records.into_iter().filter(|record| {
        let name = record.event_name.as_deref().unwrap_or_default();
        let name = name.strip_prefix("s3:").unwrap_or(name);
        matches!(name, "ObjectRestore:Completed" | "ObjectRestore:Delete")
    });
    restored
        .map(|record| {
            let bucket = record.s3.bucket.name.unwrap_or_default();
            if bucket.is_empty() {
                return Err(EventError::field(EXPECTED, "s3.bucket.name", "missing"));
            }
            let key = decode_key(&record.s3.object.key.unwrap_or_default())?;
            Ok((bucket, key))
        })
        .collect()
}

/// Writes the notification that S3 sends when the copy of an archived object is complete.
pub fn restore_completed_event(bucket: &str, key: &str, size: u64, time: DateTime<Utc>) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": LOCAL_REGION,
        "eventTime": time_text(time),
        "eventName": "ObjectRestore:Completed",
        "userIdentity": { "principalId": "LOCAL" },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": {},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "retention",
            "bucket": {
                "name": bucket,
                "ownerIdentity": { "principalId": "LOCAL" },
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": { "key": encode_key(key), "size": size },
        },
    }]})
}

/// Writes the notification that S3 sends for an object. `etag` has no quotes.
pub fn s3_created_event(object: &ObjectCreated, etag: &str) -> Value {
    let ObjectCreated {
        bucket,
        key,
        version,
        versioned,
        size,
        time,
    } = object;
    let mut entry = json!({ "key": encode_key(key), "size": size, "eTag": etag });
    if *versioned {
        entry["versionId"] = json!(version);
    }
    entry["sequencer"] = json!(format!("{:016X}", time.timestamp_micros()));
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": LOCAL_REGION,
        "eventTime": time_text(*time),
        "eventName": "ObjectCreated:Put",
        "userIdentity": { "principalId": "LOCAL" },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": {},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "inbox",
            "bucket": {
                "name": bucket,
                "ownerIdentity": { "principalId": "LOCAL" },
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": entry,
        },
    }]})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_encoded_like_in_s3() {
        assert_eq!(
            encode_key("reviews/my file (1)+ü.xlsx"),
            "reviews/my+file+%281%29%2B%C3%BC.xlsx"
        );
        assert!(decode_key("%FF").is_err(), "not UTF-8");
        assert!(decode_key("").is_err());
    }

    #[test]
    fn notifications_without_new_objects_contain_none() {
        let test = json!({
            "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-21T10:00:00.000Z",
            "Bucket": "inbox", "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X"
        });
        assert_eq!(s3_created(&test).unwrap(), []);
        let mut removed = s3_created_event(&object("a/b.xlsx", true), "e");
        removed["Records"][0]["eventName"] = json!("ObjectRemoved:Delete");
        assert_eq!(s3_created(&removed).unwrap(), []);
        for bad in [json!({}), json!({ "Records": [{}] }), json!(null)] {
            assert!(s3_created(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_negative_size_is_rejected() {
        let mut event = s3_created_event(&object("a/b.xlsx", true), "e");
        event["Records"][0]["s3"]["object"]["size"] = json!(-1);
        let error = s3_created(&event).unwrap_err();
        assert!(error.to_string().contains("s3.object.size"), "{error}");
    }

    #[test]
    fn a_completed_restore_names_the_object() {
        let key = "results/r/my file (1)+ü.xlsx";
        let mut event = restore_completed_event("work", key, 7, Utc::now());
        let found = [("work".to_owned(), key.to_owned())];
        assert_eq!(s3_restored(&event).unwrap(), found);
        assert_eq!(s3_created(&event).unwrap(), []);
        event["Records"][0]["eventName"] = json!("s3:ObjectRestore:Delete");
        assert_eq!(s3_restored(&event).unwrap(), found);
        event["Records"][0]["eventName"] = json!("ObjectRestore:Post");
        assert_eq!(s3_restored(&event).unwrap(), []);
        assert!(s3_restored(&json!({})).is_err());
    }

    fn object(key: &str, versioned: bool) -> ObjectCreated {
        ObjectCreated {
            bucket: "inbox".into(),
            key: key.into(),
            version: "e".into(),
            versioned,
            size: 7,
            time: "2026-11-21T10:00:00.123Z".parse().unwrap(),
        }
    }

    proptest! {
        #[test]
        fn every_key_can_be_parsed(key in ".{1,40}", versioned: bool) {
            let object = object(&key, versioned);
            let event = s3_created_event(&object, "e");
            prop_assert_eq!(s3_created(&event).unwrap(), [object]);
        }
    }
}
