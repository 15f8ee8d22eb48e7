//! Uploads the chunks of a cut to the work bucket.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use rowmill_domain::manifest::ChunkPlan;
use rowmill_domain::{RunId, keys};
use rowmill_ports::{FileRange, Put};
use rowmill_runs::WorkBucket;
use tokio::task::JoinSet;

use super::records::{Cut, rejected_file};
use super::spool::piece_file;
use crate::error::SplitError;

/// How many chunks are uploaded at the same time.
const PUTS_AT_ONCE: usize = 8;

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
        let rejected = rejected_file(self.scratch.path());
        puts.spawn(put_file(work.clone(), keys::rejected(run), rejected));
        for (plan, parts) in chunks.iter().zip(self.parts(chunks)) {
            if puts.len() == PUTS_AT_ONCE {
                joined(puts.join_next().await)?;
            }
            let name = format!("chunk-{:05}.jsonl", plan.chunk);
            let joint = self.scratch.path().join(name);
            let key = keys::chunk(run, plan.chunk);
            puts.spawn(put_parts(work.clone(), key, parts, joint));
        }
        while !puts.is_empty() {
            joined(puts.join_next().await)?;
        }
        Ok(())
    }

    /// The parts of pieces that each chunk consists of.
    pub(super) fn parts(&self, chunks: &[ChunkPlan]) -> Vec<Vec<FileRange>> {
        let mut lines = self.records.iter();
        let mut pieces = self.pieces.iter().copied().enumerate();
        // The current piece: its number, its records, how many of them are taken, and their bytes.
        let (mut piece, mut size, mut taken, mut offset) = (0, 0, 0, 0);
        let mut all = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let (mut left, mut parts) = (chunk.records, Vec::new());
            while left > 0 {
                if taken == size {
                    let Some(next) = pieces.next() else { break };
                    ((piece, size), taken, offset) = (next, 0, 0);
                }
                let records = left.min(size - taken);
                let ours = lines.by_ref().take(records as usize);
                let bytes: u64 = ours.map(|line| u64::from(line.bytes)).sum();
                let whole = records == size;
                parts.push(FileRange {
                    range: (!whole).then_some(offset..offset + bytes),
                    ..FileRange::of_final(piece_file(self.scratch.path(), piece))
                });
                (left, taken, offset) = (left - records, taken + records, offset + bytes);
            }
            all.push(parts);
        }
        all
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

/// Uploads a file that is never written to again.
async fn put_file(work: WorkBucket, key: String, path: PathBuf) -> Result<(), SplitError> {
    work.upload(&key, FileRange::of_final(path), json_lines())
        .await?;
    Ok(())
}

/// Uploads parts of files as one object. Several are joined in the file `joint` first.
async fn put_parts(
    work: WorkBucket,
    key: String,
    parts: Vec<FileRange>,
    joint: PathBuf,
) -> Result<(), SplitError> {
    if let [part] = &parts[..] {
        work.upload(&key, part.clone(), json_lines()).await?;
        return Ok(());
    }
    let to = joint.clone();
    tokio::task::spawn_blocking(move || join(&parts, &to))
        .await
        .map_err(io::Error::other)??;
    let put = put_file(work, key, joint.clone()).await;
    std::fs::remove_file(joint)?;
    put
}

/// Writes parts of files one after the other to a new file.
fn join(parts: &[FileRange], to: &Path) -> io::Result<()> {
    let mut to = File::create(to)?;
    for FileRange { path, range, .. } in parts {
        let mut file = File::open(path)?;
        let wanted = match range {
            Some(range) => {
                file.seek(SeekFrom::Start(range.start))?;
                range.end - range.start
            }
            None => file.metadata()?.len(),
        };
        if io::copy(&mut file.take(wanted), &mut to)? != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
