//! [`Archive`] on S3.

mod classes;

use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, GlacierJobParameters, MetadataDirective,
    RestoreRequest, StorageClass,
};
use rowmill_domain::limits::COPY_MAX;
use rowmill_domain::storage::{ArchiveClass, RestoreSpeed};
use rowmill_ports::{
    Archive, ArchivePage, ArchiveStatus, ArchivedCopy, ErrorKind, Location, PortError,
    RestoreAnswer, Result, StoredObject,
};

use super::copy::source;
use super::info::{length, unquoted};
use super::{S3Objects, decoded};
use crate::error::failed;
use classes::{class_of, copy_of, listed_class, storage_class, tier};

/// An object as HeadObject describes it.
struct Head {
    status: ArchiveStatus,
    etag: String,
}

impl From<HeadObjectOutput> for Head {
    fn from(response: HeadObjectOutput) -> Head {
        let class = class_of(response.storage_class.as_ref());
        // A checksum of the checksums of parts is not one of the content.
        let whole = response.checksum_type != Some(ChecksumType::Composite);
        let checksum = [
            ("crc32", response.checksum_crc32),
            ("crc64nvme", response.checksum_crc64_nvme),
            ("crc32c", response.checksum_crc32_c),
            ("sha256", response.checksum_sha256),
        ]
        .into_iter()
        .find_map(|(name, value)| Some(format!("{name}:{}", value?)))
        // With the number of parts.
        .filter(|value| whole && !value.contains('-'));
        Head {
            status: ArchiveStatus {
                class,
                size: length(response.content_length),
                checksum,
                copy: copy_of(class, response.restore.as_deref()),
            },
            etag: unquoted(response.e_tag),
        }
    }
}

impl S3Objects {
    async fn stored_head(&self, at: &Location) -> Result<Head> {
        let response = self
            .client
            .head_object()
            .bucket(&at.bucket)
            .key(&at.key)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .map_err(failed("HeadObject", at.to_string()))?;
        Ok(response.into())
    }

    /// Copies an object onto itself, in a storage class.
    async fn copy_onto_itself(&self, at: &Location, etag: &str, class: StorageClass) -> Result<()> {
        self.client
            .copy_object()
            .copy_source(source(at))
            .copy_source_if_match(format!("\"{etag}\""))
            .bucket(&at.bucket)
            .key(&at.key)
            .metadata_directive(MetadataDirective::Copy)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .storage_class(class)
            .send()
            .await
            .map_err(failed("CopyObject", at.to_string()))?;
        Ok(())
    }

    /// Copies an object onto itself and compares the copy with the original.
    async fn moved(&self, at: &Location, head: Head, class: StorageClass) -> Result<()> {
        let broken =
            |kind, message: String| PortError::new("CopyObject", at.to_string(), kind, message);
        if head.status.size > COPY_MAX {
            let message = format!(
                "the object has {} bytes; S3 copies up to {COPY_MAX} in one request",
                head.status.size
            );
            return Err(broken(ErrorKind::Invalid, message));
        }
        if head.status.checksum.is_none() {
            let message = "the object has no checksum of its whole content, so a copy cannot be verified: \
                           put it again";
            return Err(broken(ErrorKind::Invalid, message.to_owned()));
        }
        let wanted = class_of(Some(&class));
        self.copy_onto_itself(at, &head.etag, class).await?;
        let copy = self.stored_head(at).await?.status;
        let is_equal = copy.size == head.status.size && copy.checksum == head.status.checksum;
        if copy.class == wanted && is_equal {
            return Ok(());
        }
        // Another invocation can have moved it since; then the next attempt finds out.
        let message = format!(
            "the copy differs from the original: {copy:?}, expected {wanted:?}, {:?}",
            head.status
        );
        Err(broken(ErrorKind::Unavailable, message))
    }
}

#[async_trait]
impl Archive for S3Objects {
    async fn stored(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<ArchivePage> {
        let response = self.listed(bucket, prefix, after).await?;
        let objects: Vec<StoredObject> = response
            .contents
            .unwrap_or_default()
            .into_iter()
            .map(|object| StoredObject {
                key: decoded(&object.key.unwrap_or_default()),
                size: length(object.size),
                class: listed_class(object.storage_class.as_ref()),
            })
            .collect();
        let more = response.is_truncated.unwrap_or(false);
        let last = objects.last().map(|object| object.key.clone());
        Ok(ArchivePage {
            objects,
            next: last.filter(|_| more),
        })
    }

    async fn status(&self, at: &Location) -> Result<ArchiveStatus> {
        Ok(self.stored_head(at).await?.status)
    }

    async fn archive(&self, at: &Location, class: ArchiveClass) -> Result<()> {
        let head = self.stored_head(at).await?;
        match head.status.class {
            Some(_) => Ok(()),
            None => self.moved(at, head, storage_class(class)).await,
        }
    }

    async fn restore(
        &self,
        at: &Location,
        speed: RestoreSpeed,
        days: u32,
    ) -> Result<RestoreAnswer> {
        // S3 answers the same code for several of these.
        let status = self.status(at).await?;
        let Some(class) = status.class.filter(|class| !class.speeds().is_empty()) else {
            return Ok(RestoreAnswer::NotNeeded);
        };
        match status.copy {
            ArchivedCopy::InProgress => return Ok(RestoreAnswer::InProgress),
            ArchivedCopy::Until(until) => return Ok(RestoreAnswer::Restored(until)),
            ArchivedCopy::None => {}
        }
        if !class.speeds().contains(&speed) {
            return Ok(RestoreAnswer::WrongSpeed);
        }
        let built = GlacierJobParameters::builder().tier(tier(speed)).build();
        let built = built.map_err(|error| {
            PortError::new("RestoreObject", at.to_string(), ErrorKind::Invalid, error)
        })?;
        let request = RestoreRequest::builder()
            .days(i32::try_from(days).unwrap_or(i32::MAX))
            .glacier_job_parameters(built)
            .build();
        let response = self
            .client
            .restore_object()
            .bucket(&at.bucket)
            .key(&at.key)
            .restore_request(request)
            .send()
            .await;
        let Err(error) = response else {
            return Ok(RestoreAnswer::Started);
        };
        let code = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code);
        match code {
            Some("RestoreAlreadyInProgress") => Ok(RestoreAnswer::InProgress),
            Some("GlacierExpeditedRetrievalNotAvailable") => Ok(RestoreAnswer::NoCapacity),
            // Another invocation has copied it back since.
            Some("ObjectAlreadyInActiveTierError") => Ok(RestoreAnswer::NotNeeded),
            _ => Err(failed("RestoreObject", at.to_string())(error)),
        }
    }

    async fn copy_back(&self, at: &Location) -> Result<()> {
        let head = self.stored_head(at).await?;
        let Some(class) = head.status.class else {
            return Ok(());
        };
        let needs_copy = !class.speeds().is_empty();
        if needs_copy && !matches!(head.status.copy, ArchivedCopy::Until(_)) {
            let message = "the object is archived and has no restored copy: restore it first";
            let at = at.to_string();
            return Err(PortError::new(
                "CopyObject",
                at,
                ErrorKind::Archived,
                message,
            ));
        }
        self.moved(at, head, StorageClass::Standard).await
    }
}
