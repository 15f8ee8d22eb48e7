//! [`Objects`] and [`Archive`](rowmill_ports::Archive) on S3.

mod archive;
mod copy;
mod delete;
mod info;
mod link;
mod metadata;
mod post;
mod read;
mod upload;
mod versions;

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::EncodingType;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use rowmill_domain::limits;
use rowmill_ports::{
    ErrorKind, FileRange, Location, Object, ObjectInfo, Objects, Page, PortError, Put, Result,
};

use crate::error::failed;
use info::{Info, length, time, unquoted};
pub use post::{PostedObject, SignedPost};
use upload::{Body, Upload, Written};

/// Buckets in S3.
///
/// Non-ASCII metadata is sent in RFC 2047 encoding, as S3 itself shows it. [`Put::metadata`] and
/// [`ObjectInfo::metadata`] have the decoded text.
pub struct S3Objects {
    client: Client,
    /// For forms, which the SDK does not sign.
    credentials: Option<SharedCredentialsProvider>,
}

impl S3Objects {
    /// Buckets as the configuration reaches them. With a custom endpoint, buckets are addressed by
    /// path, because only AWS itself has a host name for each bucket.
    pub fn new(config: &SdkConfig) -> S3Objects {
        let credentials = config.credentials_provider();
        let config = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(has_endpoint(config))
            .build();
        S3Objects {
            client: Client::from_conf(config),
            credentials,
        }
    }

    /// A page of the objects under a prefix, after a key.
    async fn listed(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListObjectsV2Output> {
        let request = self.client.list_objects_v2().bucket(bucket).prefix(prefix);
        let request = request.set_start_after(after.map(str::to_owned));
        // Keys may contain characters that XML cannot.
        let page = request.encoding_type(EncodingType::Url).send().await;
        page.map_err(failed(
            "ListObjectsV2",
            Location::new(bucket, prefix).to_string(),
        ))
    }

    async fn write(&self, bucket: &str, key: &str, body: Body, put: &Put) -> Result<ObjectInfo> {
        let at = Location::new(bucket, key);
        check(&at, put)?;
        let upload = Upload {
            client: &self.client,
            at: &at,
            put,
            body: &body,
        };
        let written = upload.run().await?;
        self.written(at, written, body.len(), put).await
    }

    /// What is known about an object that was just stored.
    async fn written(
        &self,
        at: Location,
        written: Written,
        size: u64,
        put: &Put,
    ) -> Result<ObjectInfo> {
        if written.version.is_some() {
            let at = Location {
                version: written.version,
                ..at
            };
            return self.head(&at).await;
        }
        // S3's response has no time, and a request for it might describe a newer object.
        Ok(ObjectInfo {
            key: at.key,
            size,
            etag: written.etag,
            version: None,
            modified: Utc::now(),
            metadata: put.metadata.clone(),
        })
    }
}

/// Whether the configuration has a custom endpoint for S3.
fn has_endpoint(config: &SdkConfig) -> bool {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let named = match (config.service_config(), key) {
        (Some(named), Ok(key)) => named.load_config(key),
        _ => None,
    };
    named.is_some() || config.endpoint_url().is_some()
}

/// Rejects what S3 would reject, before anything is sent.
fn check(at: &Location, put: &Put) -> Result<()> {
    let refuse = |message| {
        let at = at.to_string();
        Err(PortError::new("PutObject", at, ErrorKind::Invalid, message))
    };
    let (length, most) = (at.key.len(), limits::OBJECT_KEY_MAX);
    if length == 0 || length > most {
        return refuse(format!(
            "the key has {length} bytes; the limit is 1 to {most}"
        ));
    }
    let pairs = put.metadata.iter();
    let bytes: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    let most = limits::OBJECT_METADATA_MAX;
    if bytes > most {
        return refuse(format!(
            "the user metadata has {bytes} bytes; the limit is {most}"
        ));
    }
    Ok(())
}

#[async_trait]
impl Objects for S3Objects {
    async fn head(&self, at: &Location) -> Result<ObjectInfo> {
        let response = self
            .client
            .head_object()
            .bucket(&at.bucket)
            .key(&at.key)
            .set_version_id(at.version.clone())
            .send()
            .await
            .map_err(failed("HeadObject", at.to_string()))?;
        Ok(Info::from(response).object(&at.key))
    }

    async fn get(&self, at: &Location) -> Result<Object> {
        let (info, body) = self.read(at, read::collect).await?;
        Ok(Object { info, body })
    }

    async fn get_range(&self, at: &Location, bytes: Range<u64>) -> Result<Bytes> {
        let range = format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1));
        let response = self
            .client
            .get_object()
            .bucket(&at.bucket)
            .key(&at.key)
            .set_version_id(at.version.clone())
            .range(range)
            .send()
            .await
            .map_err(|error| {
                // HTTP's 416, which the SDK has no type for.
                let outside = error
                    .raw_response()
                    .is_some_and(|response| response.status().as_u16() == 416);
                let mut error = failed("GetObject", at.to_string())(error);
                if outside {
                    error.kind = ErrorKind::Invalid;
                }
                error
            })?;
        let body = read::collect(response.body).await;
        body.map_err(|error| {
            PortError::new(
                "GetObject",
                at.to_string(),
                ErrorKind::Unavailable,
                error.into_message(),
            )
        })
    }

    async fn download(&self, at: &Location, to: &Path) -> Result<ObjectInfo> {
        let (info, ()) = self
            .read(at, |body| read::download(body, to.to_owned()))
            .await?;
        Ok(info)
    }

    async fn put(&self, bucket: &str, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo> {
        self.write(bucket, key, Body::Bytes(body), &put).await
    }

    async fn upload(
        &self,
        bucket: &str,
        key: &str,
        from: &FileRange,
        put: Put,
    ) -> Result<ObjectInfo> {
        let range = from.clone();
        let open = move || {
            let file = File::open(&range.path)?;
            let range = match range.range {
                Some(range) => range,
                None => 0..file.metadata()?.len(),
            };
            Ok::<_, std::io::Error>((Arc::new(file), range))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        match opened.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))) {
            Ok((file, range)) => {
                let body = Body::File { file, range };
                self.write(bucket, key, body, &put).await
            }
            Err(error) => {
                let at = Location::new(bucket, key).to_string();
                let message = format!("{}: {error}", from.path.display());
                Err(PortError::new(
                    "PutObject",
                    at,
                    ErrorKind::Unavailable,
                    message,
                ))
            }
        }
    }

    async fn copy(&self, from: &Location, bucket: &str, key: &str, put: Put) -> Result<ObjectInfo> {
        let at = Location::new(bucket, key);
        check(&at, &put)?;
        let source = self.head(from).await?;
        let written = copy::copy(&self.client, from, &at, &put).await?;
        self.written(at, written, source.size, &put).await
    }

    async fn list(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<Page> {
        let response = self.listed(bucket, prefix, after).await?;
        let mut objects = Vec::new();
        for object in response.contents.unwrap_or_default() {
            let key = decoded(&object.key.unwrap_or_default());
            objects.push(ObjectInfo {
                key,
                size: length(object.size),
                etag: unquoted(object.e_tag),
                version: None,
                modified: time(object.last_modified),
                metadata: Default::default(),
            });
        }
        let more = response.is_truncated.unwrap_or(false);
        let last = objects.last().map(|object| object.key.clone());
        Ok(Page {
            objects,
            next: last.filter(|_| more),
        })
    }

    async fn put_since(&self, bucket: &str, since: DateTime<Utc>) -> Result<Vec<ObjectInfo>> {
        versions::since(&self.client, bucket, since).await
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<()> {
        self.delete_all(bucket, keys).await
    }

    /// The link expires before `valid` if the credentials that sign it do.
    async fn link(&self, at: &Location, file_name: &str, valid: Duration) -> Result<String> {
        let refused = |error| {
            let message = format!("a link can be valid for up to 7 days: {error}");
            PortError::new("GetObject", at.to_string(), ErrorKind::Invalid, message)
        };
        let presigning = PresigningConfig::expires_in(valid).map_err(refused)?;
        let signed = self
            .client
            .get_object()
            .bucket(&at.bucket)
            .key(&at.key)
            .set_version_id(at.version.clone())
            .response_content_disposition(link::attachment(file_name))
            .presigned(presigning)
            .await
            .map_err(failed("GetObject", at.to_string()))?;
        Ok(signed.uri().to_owned())
    }
}

/// Decodes a key of `encoding-type=url`: like a form, with a plus sign for a space.
fn decoded(key: &str) -> String {
    let key = key.replace('+', " ");
    percent_decode_str(&key).decode_utf8_lossy().into_owned()
}
