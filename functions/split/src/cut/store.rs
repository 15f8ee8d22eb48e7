//! Uploads the chunks of a cut to the work bucket.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use rowmill_domain::manifest::ChunkPlan;
use rowmill_domain::{RunId, keys};
use rowmill_ports::Put;
use rowmill_runs::WorkBucket;
use tokio::task::JoinSet;

use super::records::{Cut, rejected_file};
use crate::error::SplitError;

/// How many chunks are uploaded at the same time.
const PUTS_AT_ONCE: usize = 4;
/// A larger chunk, in bytes, is uploaded from a file instead of memory: the allocator keeps buffers
/// of that size on several threads, which was half of split's memory.
const CHUNK_IN_MEMORY: u64 = 1 << 20;

impl Cut {
    /// Uploads these chunks, which [`Cut::chunks`] returned, and the rejected rows to the work
    /// bucket. Safe to repeat.
    ///
    /// # Errors
    /// The bucket or the temporary files failed.
    pub async fn store(
        &self,
        work: &WorkBucket,
        run: &RunId,
        chunks: &[ChunkPlan],
    ) -> Result<(), SplitError> {
        let mut puts = JoinSet::new();
        puts.spawn(put_file(
            work.clone(),
            keys::rejected(run),
            rejected_file(self.scratch.path()),
        ));
        let (mut line, mut offset) = (0, 0);
        for chunk in chunks {
            let lines = &self.records[line..line + chunk.records as usize];
            let bytes = lines.iter().map(|l| u64::from(l.bytes)).sum();
            if puts.len() == PUTS_AT_ONCE {
                joined(puts.join_next().await)?;
            }
            puts.spawn(put_part(
                work.clone(),
                keys::chunk(run, chunk.chunk),
                self.spool(),
                self.scratch.path().join(format!("chunk-{}", chunk.chunk)),
                offset,
                bytes,
            ));
            line += lines.len();
            offset += bytes;
        }
        while !puts.is_empty() {
            joined(puts.join_next().await)?;
        }
        Ok(())
    }
}

fn json_lines() -> Put {
    Put {
        content_type: Some("application/jsonl".into()),
        ..Put::default()
    }
}

fn joined(
    result: Option<Result<Result<(), SplitError>, tokio::task::JoinError>>,
) -> Result<(), SplitError> {
    match result {
        Some(Ok(result)) => result,
        // Cancelled with the runtime, or a bug: nothing is lost in either case.
        Some(Err(error)) => Err(io::Error::other(error).into()),
        None => Ok(()),
    }
}

/// Uploads a file as an object.
async fn put_file(work: WorkBucket, key: String, file: PathBuf) -> Result<(), SplitError> {
    work.upload(&key, &file, json_lines()).await?;
    Ok(())
}

/// Uploads a part of the spool as an object.
async fn put_part(
    work: WorkBucket,
    key: String,
    spool: PathBuf,
    large: PathBuf,
    offset: u64,
    bytes: u64,
) -> Result<(), SplitError> {
    let to = large.clone();
    let body = tokio::task::spawn_blocking(move || {
        let mut spool = File::open(spool)?;
        spool.seek(SeekFrom::Start(offset))?;
        let mut part = spool.take(bytes);
        if bytes > CHUNK_IN_MEMORY {
            io::copy(&mut part, &mut File::create(to)?)?;
            return Ok(None);
        }
        let mut body = Vec::with_capacity(bytes as usize);
        part.read_to_end(&mut body)?;
        Ok::<_, io::Error>(Some(Bytes::from(body)))
    })
    .await
    .map_err(io::Error::other)??;
    match body {
        Some(body) => work.put(&key, body, json_lines()).await?,
        None => {
            let info = work.upload(&key, &large, json_lines()).await?;
            tokio::fs::remove_file(&large).await?;
            info
        }
    };
    Ok(())
}
