//! Objects in S3.

mod link;
mod metadata;
mod upload;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime as SdkTime};
use aws_sdk_s3::types::{Delete, EncodingType, ObjectIdentifier};
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use rowmill_domain::limits;
use rowmill_ports::{
    ErrorKind, Location, Object, ObjectInfo, Objects, Page, PortError, Put, Result,
};
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::error::{failed, kind};
use upload::{Body, Upload};

/// Tries to read a body to its end. The SDK tries a call again until its answer begins, not when
/// the connection ends within it.
const BODY_TRIES: u32 = 4;

/// Tries to delete a key that the service was too busy for.
const DELETE_TRIES: u32 = 5;

/// Buckets of S3.
///
/// Metadata of other than ASCII is RFC 2047 on the way, as S3 itself shows it; readers and writers
/// of [`Put::metadata`] see the text.
pub struct S3Objects {
    client: Client,
}

impl S3Objects {
    /// Buckets as that configuration reaches them. Where it names an endpoint, buckets are
    /// addressed by path: a host name for each is AWS's own service.
    pub fn new(config: &SdkConfig) -> S3Objects {
        let config = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(has_endpoint(config))
            .build();
        S3Objects {
            client: Client::from_conf(config),
        }
    }

    /// The object's answer with its bytes still to come.
    async fn open(&self, at: &Location) -> Result<GetObjectOutput> {
        self.client
            .get_object()
            .bucket(&at.bucket)
            .key(&at.key)
            .set_version_id(at.version.clone())
            .send()
            .await
            .map_err(failed("GetObject", at.to_string()))
    }

    /// Reads an object to its end, again from its start where the connection ends within it.
    async fn read<T, F>(
        &self,
        at: &Location,
        mut body: impl FnMut(ByteStream) -> F,
    ) -> Result<(ObjectInfo, T)>
    where
        F: Future<Output = std::result::Result<T, BodyError>>,
    {
        let error = |kind, message| PortError::new("GetObject", at.to_string(), kind, message);
        let mut tries = 0;
        loop {
            let mut answer = self.open(at).await?;
            let bytes = std::mem::take(&mut answer.body);
            let info = Info::from(answer).object(&at.key);
            tries += 1;
            match body(bytes).await {
                Ok(value) => return Ok((info, value)),
                Err(BodyError::Connection(message)) if tries < BODY_TRIES => {
                    tracing::debug!(%at, message, "the connection ended within an object");
                }
                Err(BodyError::Connection(message) | BodyError::File(message)) => {
                    return Err(error(ErrorKind::Unavailable, message));
                }
            }
        }
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
        if written.version.is_some() {
            let at = Location {
                version: written.version,
                ..at
            };
            return self.head(&at).await;
        }
        // S3's answer has no time, and the next one's object may be there already: asking would
        // tell of that one.
        Ok(ObjectInfo {
            key: at.key,
            size: body.len(),
            etag: written.etag,
            version: None,
            modified: Utc::now(),
            metadata: put.metadata.clone(),
        })
    }

    /// Deletes at most a page of keys, and gives those that the service was too busy for.
    async fn delete_page(&self, bucket: &str, keys: &[String]) -> Result<Vec<String>> {
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
        let id = aws_sdk_s3::operation::RequestId::request_id(&answer)
            .unwrap_or("none")
            .to_owned();
        let mut busy = Vec::new();
        for refused in answer.errors.unwrap_or_default() {
            let key = refused.key.unwrap_or_default();
            let code = refused.code.unwrap_or_default();
            // Of a key there is a code and no status; what S3 fails in itself it calls so.
            let kind = match code.as_str() {
                "InternalError" | "ServiceUnavailable" => ErrorKind::Unavailable,
                code => kind(Some(code), 400),
            };
            match kind {
                ErrorKind::NotFound => {}
                ErrorKind::Throttled | ErrorKind::Unavailable => busy.push(key),
                kind => {
                    let said = refused.message.unwrap_or_default();
                    let message = format!("{code}: {said} (request id {id})");
                    let at = Location::new(bucket, key);
                    return Err(PortError::new(
                        "DeleteObjects",
                        at.to_string(),
                        kind,
                        message,
                    ));
                }
            }
        }
        Ok(busy)
    }
}

/// Whether the environment or the caller names an endpoint for S3.
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

/// Refuses what S3 refuses, before anything is sent.
fn check(at: &Location, put: &Put) -> Result<()> {
    let refuse = |message| {
        let at = at.to_string();
        Err(PortError::new("PutObject", at, ErrorKind::Invalid, message))
    };
    let (length, most) = (at.key.len(), limits::OBJECT_KEY_MAX);
    if length == 0 || length > most {
        return refuse(format!(
            "a key has 1 to {most} bytes, this one has {length}"
        ));
    }
    let pairs = put.metadata.iter();
    let bytes: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    let most = limits::OBJECT_METADATA_MAX;
    if bytes > most {
        return refuse(format!(
            "user metadata has {bytes} bytes, and at most {most} are taken"
        ));
    }
    Ok(())
}

/// Why a body was not read to its end.
enum BodyError {
    /// The way to the service; again may help.
    Connection(String),
    /// The file it goes to.
    File(String),
}

/// What the answers to HeadObject and GetObject have in common.
struct Info {
    size: Option<i64>,
    etag: Option<String>,
    version: Option<String>,
    modified: Option<SdkTime>,
    metadata: Option<HashMap<String, String>>,
}

impl From<HeadObjectOutput> for Info {
    fn from(answer: HeadObjectOutput) -> Info {
        Info {
            size: answer.content_length,
            etag: answer.e_tag,
            version: answer.version_id,
            modified: answer.last_modified,
            metadata: answer.metadata,
        }
    }
}

impl From<GetObjectOutput> for Info {
    fn from(answer: GetObjectOutput) -> Info {
        Info {
            size: answer.content_length,
            etag: answer.e_tag,
            version: answer.version_id,
            modified: answer.last_modified,
            metadata: answer.metadata,
        }
    }
}

impl Info {
    fn object(self, key: &str) -> ObjectInfo {
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

fn length(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}

fn unquoted(etag: Option<String>) -> String {
    let etag = etag.unwrap_or_default();
    etag.trim_matches('"').to_owned()
}

/// A bucket whose versioning is suspended gives the version `null`, which the next put replaces.
fn versioned(version: Option<String>) -> Option<String> {
    version.filter(|version| version != "null")
}

fn time(time: Option<SdkTime>) -> DateTime<Utc> {
    time.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()))
        .unwrap_or_default()
}

#[async_trait]
impl Objects for S3Objects {
    async fn head(&self, at: &Location) -> Result<ObjectInfo> {
        let answer = self
            .client
            .head_object()
            .bucket(&at.bucket)
            .key(&at.key)
            .set_version_id(at.version.clone())
            .send()
            .await
            .map_err(failed("HeadObject", at.to_string()))?;
        Ok(Info::from(answer).object(&at.key))
    }

    async fn get(&self, at: &Location) -> Result<Object> {
        let (info, body) = self.read(at, collect).await?;
        Ok(Object { info, body })
    }

    async fn download(&self, at: &Location, to: &Path) -> Result<ObjectInfo> {
        let (info, ()) = self.read(at, |body| download(body, to.to_owned())).await?;
        Ok(info)
    }

    async fn put(&self, bucket: &str, key: &str, body: Bytes, put: Put) -> Result<ObjectInfo> {
        self.write(bucket, key, Body::Bytes(body), &put).await
    }

    async fn upload(&self, bucket: &str, key: &str, from: &Path, put: Put) -> Result<ObjectInfo> {
        let path = from.to_owned();
        let open = move || {
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            Ok::<_, std::io::Error>((Arc::new(file), length))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        match opened.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))) {
            Ok((file, length)) => {
                let body = Body::File { file, length };
                self.write(bucket, key, body, &put).await
            }
            Err(error) => {
                let at = Location::new(bucket, key).to_string();
                let message = format!("{}: {error}", from.display());
                Err(PortError::new(
                    "PutObject",
                    at,
                    ErrorKind::Unavailable,
                    message,
                ))
            }
        }
    }

    async fn list(&self, bucket: &str, prefix: &str, after: Option<&str>) -> Result<Page> {
        let at = Location::new(bucket, prefix);
        let answer = self
            .client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            // Keys may hold what XML cannot.
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(failed("ListObjectsV2", at.to_string()))?;
        let mut objects = Vec::new();
        for object in answer.contents.unwrap_or_default() {
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
        let more = answer.is_truncated.unwrap_or(false);
        let last = objects.last().map(|object| object.key.clone());
        Ok(Page {
            objects,
            next: last.filter(|_| more),
        })
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<()> {
        for page in keys.chunks(limits::DELETE_OBJECTS_MAX) {
            let mut left = self.delete_page(bucket, page).await?;
            let mut tries = 1;
            while let Some(key) = left.first() {
                if tries == DELETE_TRIES {
                    let message = format!("{} keys could not be deleted now", left.len());
                    let at = Location::new(bucket, key);
                    let kind = ErrorKind::Throttled;
                    return Err(PortError::new(
                        "DeleteObjects",
                        at.to_string(),
                        kind,
                        message,
                    ));
                }
                tokio::time::sleep(Duration::from_millis(100 << tries)).await;
                tries += 1;
                left = self.delete_page(bucket, &left).await?;
            }
        }
        Ok(())
    }

    /// Ends sooner than `valid` where the credentials that sign it do.
    async fn link(&self, at: &Location, file_name: &str, valid: Duration) -> Result<String> {
        let refused = |error| {
            let message = format!("a link is valid for at most 7 days: {error}");
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

/// A key as `encoding-type=url` writes it: as forms are, a space being a plus.
fn decoded(key: &str) -> String {
    let key = key.replace('+', " ");
    percent_decode_str(&key).decode_utf8_lossy().into_owned()
}

async fn collect(body: ByteStream) -> std::result::Result<Bytes, BodyError> {
    match body.collect().await {
        Ok(body) => Ok(body.into_bytes()),
        Err(error) => Err(BodyError::Connection(
            DisplayErrorContext(error).to_string(),
        )),
    }
}

/// Writes a body to a file beside `to`, which then takes its place: what is at `to` is whole.
async fn download(mut body: ByteStream, to: PathBuf) -> std::result::Result<(), BodyError> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let local = |error: std::io::Error| BodyError::File(format!("{}: {error}", to.display()));
    let write = async {
        let file = tokio::fs::File::create(&partial).await.map_err(local)?;
        // A blocking write for each packet would take longer than the network.
        let mut file = BufWriter::with_capacity(1 << 20, file);
        while let Some(bytes) = body.next().await {
            let lost = |error| BodyError::Connection(DisplayErrorContext(error).to_string());
            file.write_all(&bytes.map_err(lost)?).await.map_err(local)?;
        }
        file.flush().await.map_err(local)?;
        tokio::fs::rename(&partial, &to).await.map_err(local)
    };
    let written = write.await;
    if written.is_err() {
        // It may not be there.
        let _ = tokio::fs::remove_file(&partial).await;
    }
    written
}
