//! Putting an object: whole, or in parts above 8 MB.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rowmill_domain::limits;
use rowmill_ports::{ErrorKind, Location, PortError, Put, Result};

use super::info::{unquoted, versioned};
use super::metadata;
use crate::error::failed;

/// Above this an object is put in parts of this size: the way fills with several at once, and a
/// lost connection costs a part.
const PART: u64 = 8 << 20;

/// Parts under way at once. With [`PART`] bytes each this bounds the memory of an upload: 32 MB.
const AT_ONCE: usize = 4;

/// Tries of a conditional put while another one of the same key is under way.
const CONFLICT_TRIES: u32 = 6;

/// What is put.
pub(super) enum Body {
    Bytes(Bytes),
    File { file: Arc<File>, length: u64 },
}

impl Body {
    pub(super) fn len(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { length, .. } => *length,
        }
    }

    /// The bytes from `start`, `length` of them.
    async fn read(&self, start: u64, length: u64) -> std::io::Result<Bytes> {
        match self {
            // Both fit: the bytes are in memory.
            Body::Bytes(bytes) => Ok(bytes.slice(start as usize..(start + length) as usize)),
            Body::File { file, .. } => {
                let file = Arc::clone(file);
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

/// What the service says of an object that it has taken.
pub(super) struct Written {
    pub(super) etag: String,
    pub(super) version: Option<String>,
}

/// An object on its way.
pub(super) struct Upload<'a> {
    pub(super) client: &'a Client,
    pub(super) at: &'a Location,
    pub(super) put: &'a Put,
    pub(super) body: &'a Body,
}

/// Why it was not taken.
struct Failure {
    error: PortError,
    /// Another write of the key is under way, and which of them wins is not known yet.
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
        let mut tries = 1;
        loop {
            let put = if self.body.len() > PART {
                self.in_parts().await
            } else {
                self.whole().await
            };
            match put {
                Ok(written) => return Ok(written),
                Err(failure) if failure.undecided && tries < CONFLICT_TRIES => {
                    tokio::time::sleep(Duration::from_millis(50 << tries)).await;
                    tries += 1;
                }
                Err(failure) => return Err(failure.error),
            }
        }
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
            let message = format!("the file cannot be read, or has changed: {error}");
            PortError::new("PutObject", at, ErrorKind::Unavailable, message)
        })
    }

    async fn whole(&self) -> std::result::Result<Written, Failure> {
        let body = self.read(0, self.body.len()).await?;
        let answer = self
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
            etag: unquoted(answer.e_tag),
            version: versioned(answer.version_id),
        })
    }

    /// Parts that a killed process leaves are removed by the bucket's rule for incomplete uploads.
    async fn in_parts(&self) -> std::result::Result<Written, Failure> {
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.at.bucket)
            .key(&self.at.key)
            .set_content_type(self.put.content_type.clone())
            .set_metadata(self.metadata())
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await
            .map_err(refused("CreateMultipartUpload", self.at))?;
        let Some(id) = created.upload_id else {
            let at = self.at.to_string();
            let message = "the answer has no upload id";
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
            // After a Complete whose answer was lost there is nothing to abort.
            if let Err(error) = abort.map_err(failed("AbortMultipartUpload", self.at.to_string()))
                && !error.is_not_found()
            {
                tracing::warn!(%error, "parts of a failed upload stay until the bucket's rule removes them");
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
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&self.at.bucket)
            .key(&self.at.key)
            .upload_id(id)
            .multipart_upload(parts)
            .set_if_none_match(self.if_none_match())
            .send()
            .await
            .map_err(refused("CompleteMultipartUpload", self.at))
            .map_err(gone)?;
        Ok(Written {
            etag: unquoted(answer.e_tag),
            version: versioned(answer.version_id),
        })
    }

    async fn send_part(
        &self,
        id: &str,
        n: u64,
        start: u64,
        length: u64,
    ) -> std::result::Result<CompletedPart, Failure> {
        // At most 10,000 parts.
        let number = i32::try_from(n + 1).unwrap_or(i32::MAX);
        let answer = self
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
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .build())
    }
}

/// An upload that is there no longer was ended by somebody else, or by this one's Complete whose
/// answer was lost. It is not the object that is missing; putting it again decides.
fn gone(mut failure: Failure) -> Failure {
    if failure.error.is_not_found() {
        failure.error.kind = ErrorKind::Unavailable;
    }
    failure
}

/// Bytes of a part, so that there are at most [`limits::UPLOAD_PARTS_MAX`].
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
