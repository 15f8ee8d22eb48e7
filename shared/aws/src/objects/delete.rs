//! Deleting any number of objects.

use std::time::Duration;

use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use rowmill_domain::limits;
use rowmill_ports::{ErrorKind, Location, PortError, Result};

use super::S3Objects;
use crate::error::{failed, kind};

/// Tries to delete a key that the service was too busy for.
const DELETE_TRIES: u32 = 5;

impl S3Objects {
    pub(super) async fn delete_all(&self, bucket: &str, keys: &[String]) -> Result<()> {
        for page in keys.chunks(limits::DELETE_OBJECTS_MAX) {
            let mut left = self.delete_page(bucket, page).await?;
            let mut tries = 1;
            while let Some((key, said)) = left.first() {
                if tries == DELETE_TRIES {
                    let message = format!("{said}; {} keys in all, {tries} times", left.len());
                    let at = Location::new(bucket, key).to_string();
                    let kind = ErrorKind::Throttled;
                    return Err(PortError::new("DeleteObjects", at, kind, message));
                }
                tokio::time::sleep(Duration::from_millis(100 << tries)).await;
                tries += 1;
                let keys: Vec<String> = left.into_iter().map(|(key, _)| key).collect();
                left = self.delete_page(bucket, &keys).await?;
            }
        }
        Ok(())
    }

    /// Deletes at most a page of keys, and gives those that the service was too busy for, each with
    /// what it said.
    async fn delete_page(&self, bucket: &str, keys: &[String]) -> Result<Vec<(String, String)>> {
        let identifier = |key: &String| ObjectIdentifier::builder().key(key).build();
        let invalid = |error| {
            let resource = format!("s3://{bucket}");
            PortError::new("DeleteObjects", resource, ErrorKind::Invalid, error)
        };
        let objects = keys
            .iter()
            .map(identifier)
            .collect::<std::result::Result<_, _>>();
        let delete = Delete::builder()
            .set_objects(Some(objects.map_err(invalid)?))
            .quiet(true)
            .build()
            .map_err(invalid)?;
        let request = self.client.delete_objects().bucket(bucket).delete(delete);
        let answer = request.send().await;
        let answer = answer.map_err(failed("DeleteObjects", format!("s3://{bucket}")))?;
        let id = answer.request_id().unwrap_or("none").to_owned();
        let mut busy = Vec::new();
        for refused in answer.errors.unwrap_or_default() {
            let key = refused.key.unwrap_or_default();
            let code = refused.code.unwrap_or_default();
            // Of a key there is a code and no status; what S3 fails in itself it calls so.
            let kind = match code.as_str() {
                "InternalError" | "ServiceUnavailable" => ErrorKind::Unavailable,
                code => kind(Some(code), 400),
            };
            let said = refused.message.unwrap_or_default();
            let message = format!("{code}: {said} (request id {id})");
            match kind {
                ErrorKind::NotFound => {}
                ErrorKind::Throttled | ErrorKind::Unavailable => busy.push((key, message)),
                kind => {
                    let at = Location::new(bucket, key).to_string();
                    return Err(PortError::new("DeleteObjects", at, kind, message));
                }
            }
        }
        Ok(busy)
    }
}
