//! Puts an object: in one request, or in parts if it is larger than 8 MB.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rowmill_domain::limits;
use rowmill_ports::{ErrorKind, Location, PortError, Put, Result};

use super::info::{unquoted, versioned};
use super::metadata;
use crate::error::failed;

/// The size of parts. Larger objects are put in parts: several are sent at a time, and a broken
/// connection costs one part.
const PART: u64 = 8 << 20;

/// Parts sent concurrently. With [`PART`] bytes each, an upload uses up to 32 MB of memory.
const AT_ONCE: usize = 4;

/// Pauses of a conditional put while another put of the same key is in progress: 0.1 to 1.6
/// seconds.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_factor(2.0)
    .with_max_times(5);

/// The content of an object.
pub(super) enum Body {
    Bytes(Bytes),
    File { file: Arc<File>, range: Range<u64> },
}

impl Body {
    pub(super) fn len(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { range, .. } => range.end.saturating_sub(range.start),
        }
    }

    /// Reads `length` bytes from `start`.
    async fn read(&self, start: u64, length: u64) -> std::io::Result<Bytes> {
        match self {
            // Both fit into usize: the bytes are in memory.
            Body::Bytes(bytes) => Ok(bytes.slice(start as usize..(start + length) as usize)),
            Body::File { file, range } => {
                let file = Arc::clone(file);
                let start = range.start + start;
                let read = move || {
                    let mut part = vec![0; length as usize];
                    file.read_exact_at(&mut part, start)?;
                    Ok(Bytes::from(part))
                };
                let read = tokio::task::spawn_blocking(read).await;
                read.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)))
            }
        }
    }
}

/// The service's response about a stored object.
pub(super) struct Written {
    pub(super) etag: String,
    pub(super) version: Option<String>,
}

/// An object to put.
pub(super) struct Upload<'a> {
    pub(super) client: &'a Client,
    pub(super) at: &'a Location,
    pub(super) put: &'a Put,
    pub(super) body: &'a Body,
}

/// Why an object was not stored.
struct Failure {
    error: PortError,
    /// Another put of the key is in progress, and it is not decided yet which one wins.
    undecided: bool,
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Failure {
        Failure {
            error,
            undecided: false,
        }
    }
}

fn refused<E>(
    operation: &'static str,
    at: &Location,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    move |error| Failure {
        // S3 user guide, "Add preconditions to S3 operations with conditional requests": try again.
        undecided: matches!(
            error
                .as_service_error()
                .and_then(ProvideErrorMetadata::code),
            Some("ConditionalRequestConflict" | "OperationAborted")
        ),
        error: failed(operation, at.to_string())(error),
    }
}

impl Upload<'_> {
    /// Puts the object.
    pub(super) async fn run(&self) -> Result<Written> {
        let put = async || match self.body.len() > PART {
            true => self.in_parts().await,
            false => self.whole().await,
        };
        let written = put
            .retry(PAUSES)
            .when(|failure: &Failure| failure.undecided);
        written.await.map_err(|failure| failure.error)
    }

    fn metadata(&self) -> Option<HashMap<String, String>> {
        let pairs = self.put.metadata.iter();
        let encoded = pairs.map(|(name, value)| (name.clone(), metadata::encode(value)));
        (!self.put.metadata.is_empty()).then(|| encoded.collect())
    }

    /// `If-None-Match: *`.
    fn if_none_match(&self) -> Option<String> {
        self.put.if_absent.then(|| "*".to_owned())
    }

    async fn read(&self, start: u64, length: u64) -> Result<Bytes> {
        let read = self.body.read(start, length).await;
        read.map_err(|error| {
            let at = self.at.to_string();
            let message = format!("the file cannot be read or has changed: {error}");
            PortError::new("PutObject", at, ErrorKind::Unavailable, message)
        })
    }

    async fn whole(&self) -> std::result::Result<Written, Failure> {
        let body = self.read(0, self.body.len()).await?;
        let response = self
            .client
            .put_object()
            .bucket(&self.at.bucket)
            .key(&self.at.key)
            .set_content_type(self.put.content_type.clone())
            .set_metadata(self.metadata())
            .set_if_none_match(self.if_none_match())
            .body(body.into())
            .send()
            .await
            .map_err(refused("PutObject", self.at))?;
        Ok(Written {
            etag: unquoted(response.e_tag),
            version: versioned(response.version_id),
        })
    }

    /// The bucket's rule for incomplete uploads removes the parts that a killed process leaves.
    async fn in_parts(&self) -> std::result::Result<Written, Failure> {
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.at.bucket)
            .key(&self.at.key)
            .set_content_type(self.put.content_type.clone())
            .set_metadata(self.metadata())
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            // Of the whole content, so that a copy in another storage class has the same.
            .checksum_type(ChecksumType::FullObject)
            .send()
            .await
            .map_err(refused("CreateMultipartUpload", self.at))?;
        let Some(id) = created.upload_id else {
            let at = self.at.to_string();
            let message = "the response has no upload id";
            let kind = ErrorKind::Unavailable;
            return Err(PortError::new("CreateMultipartUpload", at, kind, message).into());
        };
        let written = self.send_parts(&id).await;
        if written.is_err() {
            let abort = self
                .client
                .abort_multipart_upload()
                .bucket(&self.at.bucket)
                .key(&self.at.key)
                .upload_id(&id)
                .send()
                .await;
            // There is nothing to abort if the response to Complete was lost.
            if let Err(error) = abort.map_err(failed("AbortMultipartUpload", self.at.to_string()))
                && !error.is_not_found()
            {
                tracing::warn!(%error, "the parts of a failed upload stay until the bucket's rule removes them");
            }
        }
        written
    }

    async fn send_parts(&self, id: &str) -> std::result::Result<Written, Failure> {
        let length = self.body.len();
        let size = part_size(length);
        let parts = (0..length.div_ceil(size)).map(|n| {
            let start = n * size;
            self.send_part(id, n, start, size.min(length - start))
        });
        let parts: Vec<CompletedPart> = stream::iter(parts).buffered(AT_ONCE).try_collect().await?;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let response = self
            .client
            .complete_multipart_upload()
            .bucket(&self.at.bucket)
            .key(&self.at.key)
            .upload_id(id)
            .multipart_upload(parts)
            .checksum_type(ChecksumType::FullObject)
            .set_if_none_match(self.if_none_match())
            .send()
            .await
            .map_err(refused("CompleteMultipartUpload", self.at))
            .map_err(gone)?;
        Ok(Written {
            etag: unquoted(response.e_tag),
            version: versioned(response.version_id),
        })
    }

    async fn send_part(
        &self,
        id: &str,
        n: u64,
        start: u64,
        length: u64,
    ) -> std::result::Result<CompletedPart, Failure> {
        // There are at most 10,000 parts.
        let number = i32::try_from(n + 1).unwrap_or(i32::MAX);
        let response = self
            .client
            .upload_part()
            .bucket(&self.at.bucket)
            .key(&self.at.key)
            .upload_id(id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(self.read(start, length).await?.into())
            .send()
            .await
            .map_err(refused("UploadPart", self.at))
            .map_err(gone)?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(response.e_tag)
            .set_checksum_crc32(response.checksum_crc32)
            .build())
    }
}

/// An upload that no longer exists was ended by another process, or by this process's Complete,
/// whose response was lost. This does not mean that the object is missing, so a retry is needed.
fn gone(mut failure: Failure) -> Failure {
    if failure.error.is_not_found() {
        failure.error.kind = ErrorKind::Unavailable;
    }
    failure
}

/// The size of a part in bytes, such that there are at most [`limits::UPLOAD_PARTS_MAX`] parts.
fn part_size(length: u64) -> u64 {
    PART.max(length.div_ceil(limits::UPLOAD_PARTS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_too_many_parts() {
        for (length, size) in [
            (PART + 1, PART),
            (PART * 10_000, PART),
            (PART * 10_000 + 1, PART + 1),
            (5 << 40, 549_755_814),
        ] {
            assert_eq!(part_size(length), size);
            assert!(length.div_ceil(size) <= limits::UPLOAD_PARTS_MAX);
        }
    }
}
