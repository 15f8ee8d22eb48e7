//! Reads an object completely.

use std::path::PathBuf;

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use rowmill_ports::{ErrorKind, Location, ObjectInfo, PortError, Result};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::S3Objects;
use super::info::Info;
use crate::error::failed;

/// Attempts to read a body completely. The SDK retries a call only until its response starts, not
/// after the connection breaks within it.
const BODY_ATTEMPTS: u32 = 4;

/// Why a body was not read completely.
pub(super) enum BodyError {
    /// The connection broke. A retry may succeed.
    Connection(String),
    /// The target file could not be written.
    File(String),
}

impl BodyError {
    pub(super) fn into_message(self) -> String {
        match self {
            BodyError::Connection(message) | BodyError::File(message) => message,
        }
    }
}

impl S3Objects {
    /// Requests the object. The body is not read yet.
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

    /// Reads an object completely. Starts again if the connection breaks within it.
    pub(super) async fn read<T, F>(
        &self,
        at: &Location,
        mut body: impl FnMut(ByteStream) -> F,
    ) -> Result<(ObjectInfo, T)>
    where
        F: Future<Output = std::result::Result<T, BodyError>>,
    {
        let error = |kind, message| PortError::new("GetObject", at.to_string(), kind, message);
        let mut attempts = 0;
        loop {
            let mut response = self.open(at).await?;
            let bytes = std::mem::take(&mut response.body);
            let info = Info::from(response).object(&at.key);
            attempts += 1;
            match body(bytes).await {
                Ok(value) => return Ok((info, value)),
                Err(BodyError::Connection(message)) if attempts < BODY_ATTEMPTS => {
                    tracing::debug!(%at, message, "the connection broke within an object");
                }
                Err(BodyError::Connection(message) | BodyError::File(message)) => {
                    return Err(error(ErrorKind::Unavailable, message));
                }
            }
        }
    }
}

/// Reads a body into memory.
pub(super) async fn collect(body: ByteStream) -> std::result::Result<Bytes, BodyError> {
    match body.collect().await {
        Ok(body) => Ok(body.into_bytes()),
        Err(error) => Err(BodyError::Connection(
            DisplayErrorContext(error).to_string(),
        )),
    }
}

/// Writes a body to a file next to `to` and then renames it, so that `to` is always complete.
pub(super) async fn download(
    mut body: ByteStream,
    to: PathBuf,
) -> std::result::Result<(), BodyError> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let local = |error: std::io::Error| BodyError::File(format!("{}: {error}", to.display()));
    let write = async {
        let file = tokio::fs::File::create(&partial).await.map_err(local)?;
        // One blocking write per packet would be slower than the network.
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
        // The file may not exist.
        let _ = tokio::fs::remove_file(&partial).await;
    }
    written
}
