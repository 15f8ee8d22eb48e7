//! Copies an object within S3.

use std::collections::HashMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::MetadataDirective;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rowmill_ports::{Location, Put, Result};

use super::info::{unquoted, versioned};
use super::metadata;
use super::upload::Written;
use crate::error::failed;

/// Characters of a source that need no escape. S3 API, CopyObject: the value must be URL-encoded.
const SOURCE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The header that names the source.
pub(super) fn source(from: &Location) -> String {
    let source = format!("{}/{}", from.bucket, from.key);
    let mut source = utf8_percent_encode(&source, SOURCE).to_string();
    if let Some(version) = &from.version {
        source += &format!("?versionId={}", utf8_percent_encode(version, SOURCE));
    }
    source
}

/// Copies an object, with the media type and the metadata of `put`.
pub(super) async fn copy(
    client: &Client,
    from: &Location,
    to: &Location,
    put: &Put,
) -> Result<Written> {
    let pairs = put.metadata.iter();
    let metadata: HashMap<String, String> = pairs
        .map(|(name, value)| (name.clone(), metadata::encode(value)))
        .collect();
    let response = client
        .copy_object()
        .copy_source(source(from))
        .bucket(&to.bucket)
        .key(&to.key)
        .metadata_directive(MetadataDirective::Replace)
        .set_metadata(Some(metadata))
        .set_content_type(put.content_type.clone())
        .set_if_none_match(put.if_absent.then(|| "*".to_owned()))
        .send()
        .await
        .map_err(failed("CopyObject", to.to_string()))?;
    let result = response.copy_object_result;
    Ok(Written {
        etag: unquoted(result.and_then(|result| result.e_tag)),
        version: versioned(response.version_id),
    })
}
