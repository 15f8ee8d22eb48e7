//! Lists objects with their versions.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};
use rowmill_ports::{ObjectInfo, Result};

use super::decoded;
use super::info::{length, time, unquoted, versioned};
use crate::error::failed;

/// All objects that were put at or after `since`, with their latest version.
pub(super) async fn since(
    client: &Client,
    bucket: &str,
    since: DateTime<Utc>,
) -> Result<Vec<ObjectInfo>> {
    let mut found = Vec::new();
    let (mut key, mut version) = (None, None);
    loop {
        let page = client
            .list_object_versions()
            .bucket(bucket)
            .encoding_type(EncodingType::Url)
            .set_key_marker(key)
            .set_version_id_marker(version)
            .send()
            .await
            .map_err(failed("ListObjectVersions", format!("s3://{bucket}")))?;
        for object in page.versions.unwrap_or_default() {
            let modified = time(object.last_modified);
            if modified >= since && object.is_latest == Some(true) {
                found.push(ObjectInfo {
                    key: decoded(&object.key.unwrap_or_default()),
                    size: length(object.size),
                    etag: unquoted(object.e_tag),
                    version: versioned(object.version_id),
                    modified,
                    metadata: Default::default(),
                });
            }
        }
        if page.is_truncated != Some(true) {
            break;
        }
        (key, version) = (
            page.next_key_marker.map(|key| decoded(&key)),
            page.next_version_id_marker,
        );
        if key.is_none() {
            break;
        }
    }
    // A service may repeat the object at the end of a page. Only one version of a key is the latest.
    found.dedup_by(|a: &mut ObjectInfo, b| a.key == b.key);
    Ok(found)
}
