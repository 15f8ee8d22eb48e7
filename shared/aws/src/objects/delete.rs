//! Deletes any number of objects.

use std::time::Duration;

use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use backon::{BackoffBuilder, ExponentialBuilder};
use rowmill_domain::limits;
use rowmill_ports::{ErrorKind, Location, PortError, Result};

use super::S3Objects;
use crate::error::{failed, kind};

/// Pauses before retrying keys that the service was too busy to delete: 0.2 to 1.6 seconds.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(200))
    .with_factor(2.0)
    .with_max_times(4);

impl S3Objects {
    pub(super) async fn delete_all(&self, bucket: &str, keys: &[String]) -> Result<()> {
        for page in keys.chunks(limits::DELETE_OBJECTS_MAX) {
            let mut left = self.delete_page(bucket, page).await?;
            let mut pauses = PAUSES.build();
            while let Some((key, said)) = left.first() {
                let Some(pause) = pauses.next() else {
                    let message = format!("{said}; keys not deleted: {}", left.len());
                    let at = Location::new(bucket, key).to_string();
                    let kind = ErrorKind::Throttled;
                    return Err(PortError::new("DeleteObjects", at, kind, message));
                };
                tokio::time::sleep(pause).await;
                let keys: Vec<String> = left.into_iter().map(|(key, _)| key).collect();
                left = self.delete_page(bucket, &keys).await?;
            }
        }
        Ok(())
    }

    /// Deletes up to one page of keys. Returns the keys that the service was too busy to delete,
    /// each with the service's message.
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
        let response = request.send().await;
        let response = response.map_err(failed("DeleteObjects", format!("s3://{bucket}")))?;
        let id = response.request_id().unwrap_or("none").to_owned();
        let mut busy = Vec::new();
        for refused in response.errors.unwrap_or_default() {
            let key = refused.key.unwrap_or_default();
            let code = refused.code.unwrap_or_default();
            // A key has an error code but no status. These two codes stand for failures of S3.
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
