//! What S3 reports about an object.

use std::collections::HashMap;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime as SdkTime;
use chrono::{DateTime, Utc};
use rowmill_ports::ObjectInfo;

use super::metadata;

/// What the responses to HeadObject and GetObject have in common.
pub(super) struct Info {
    size: Option<i64>,
    etag: Option<String>,
    version: Option<String>,
    modified: Option<SdkTime>,
    metadata: Option<HashMap<String, String>>,
}

impl From<HeadObjectOutput> for Info {
    fn from(response: HeadObjectOutput) -> Info {
        Info {
            size: response.content_length,
            etag: response.e_tag,
            version: response.version_id,
            modified: response.last_modified,
            metadata: response.metadata,
        }
    }
}

impl From<GetObjectOutput> for Info {
    fn from(response: GetObjectOutput) -> Info {
        Info {
            size: response.content_length,
            etag: response.e_tag,
            version: response.version_id,
            modified: response.last_modified,
            metadata: response.metadata,
        }
    }
}

impl Info {
    pub(super) fn object(self, key: &str) -> ObjectInfo {
        let metadata = self.metadata.unwrap_or_default().into_iter();
        ObjectInfo {
            key: key.to_owned(),
            size: length(self.size),
            etag: unquoted(self.etag),
            version: versioned(self.version),
            modified: time(self.modified),
            metadata: metadata
                .map(|(name, value)| (name.to_ascii_lowercase(), metadata::decode(&value)))
                .collect(),
        }
    }
}

pub(super) fn length(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}

pub(super) fn unquoted(etag: Option<String>) -> String {
    let etag = etag.unwrap_or_default();
    etag.trim_matches('"').to_owned()
}

/// Removes the version `null` of a bucket with suspended versioning: the next put replaces it.
pub(super) fn versioned(version: Option<String>) -> Option<String> {
    version.filter(|version| version != "null")
}

pub(super) fn time(time: Option<SdkTime>) -> DateTime<Utc> {
    time.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()))
        .unwrap_or_default()
}
