//! The rows of a run, through their index.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::GzDecoder;
use futures::{StreamExt, TryStreamExt, stream};
use rowmill_domain::archive::{self, ArchiveInfo};
use rowmill_domain::index::{BLOCK_ROWS, IndexInfo, IndexRow, read_index};
use rowmill_domain::{Columns, Manifest, Outcome, Record, Row, RunId, RunItem, keys};
use rowmill_runs::WorkBucket;

use crate::problem::Problem;

/// The indexes that are kept in memory. One of 1,000,000 rows has 20 MB.
const KEPT: usize = 4;

/// Blocks that are read at the same time.
const AT_ONCE: usize = 16;

/// The most bytes of a block when decompressed: an outcome has at most 400 KB.
const BLOCK_BYTES: u64 = 256 * 1024 * 1024;

/// The index of a run that has ended.
pub(crate) struct Indexed {
    pub(crate) info: IndexInfo,
    pub(crate) manifest: Manifest,
    /// The rows, in the order of the input. The position of a row is its place here.
    pub(crate) rows: Vec<IndexRow>,
    /// All positions, least certain first. Rows without a probability are last.
    pub(crate) least_certain: Vec<u32>,
    columns: Columns,
    /// The position of the first row of each chunk.
    starts: Vec<usize>,
}

/// A row with its values.
pub(crate) struct FullRow {
    pub(crate) record: Record,
    pub(crate) outcome: Outcome,
}

/// The indexes that were read last.
#[derive(Default)]
pub struct Indexes(Mutex<Vec<(RunId, Arc<Indexed>)>>);

impl Indexes {
    /// The index of a run.
    pub(crate) async fn get(
        &self,
        work: &WorkBucket,
        run: &RunItem,
    ) -> Result<Arc<Indexed>, Problem> {
        if !run.state.is_terminal() {
            return Err(Problem::conflict(
                "The run has not ended yet, so its rows cannot be shown.",
            ));
        }
        let known = self.kept(&run.id);
        if let Some(index) = known {
            return Ok(index);
        }
        let (about, rows, archive) = (
            keys::index_about(&run.id),
            keys::index_rows(&run.id),
            keys::about(&run.id),
        );
        let found = futures::try_join!(work.find(&about), work.find(&rows), work.find(&archive))?;
        let (Some(about), Some(rows), Some(archive)) = found else {
            return Err(Problem::not_found(
                "The run has no rows to show: it failed before it had a result, its result was \
                 deleted, or an earlier version of Rowmill made it.",
            ));
        };
        let index = tokio::task::spawn_blocking(move || Indexed::read(&about, &rows, &archive));
        let index = Arc::new(index.await??);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(id, _)| *id != run.id);
        kept.truncate(KEPT - 1);
        kept.insert(0, (run.id.clone(), index.clone()));
        Ok(index)
    }

    /// Forgets the index of a run that is deleted.
    pub(crate) fn forget(&self, run: &RunId) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(id, _)| id != run);
    }

    fn kept(&self, run: &RunId) -> Option<Arc<Indexed>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(id, _)| id == run)?;
        let found = kept.remove(at);
        kept.insert(0, found);
        Some(kept[0].1.clone())
    }
}

impl Indexed {
    fn read(about: &[u8], rows: &[u8], archive: &[u8]) -> serde_json::Result<Indexed> {
        let (info, rows) = read_index(about, rows)?;
        let manifest = ArchiveInfo::from_json(archive)?.manifest;
        let mut least_certain: Vec<u32> = (0..rows.len() as u32).collect();
        let certainty = |at: &u32| {
            let row = &rows[*at as usize];
            (row.probability.unwrap_or(f32::INFINITY), row.row)
        };
        least_certain.sort_unstable_by(|a, b| {
            let (a, b) = (certainty(a), certainty(b));
            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
        });
        let starts = manifest.chunks.iter().scan(0, |next, chunk| {
            let start = *next;
            *next += chunk.records as usize;
            Some(start)
        });
        Ok(Indexed {
            starts: starts.collect(),
            columns: manifest.columns(),
            info,
            manifest,
            rows,
            least_certain,
        })
    }

    /// The position of a row.
    pub(crate) fn position(&self, row: u32) -> Option<usize> {
        self.rows.binary_search_by_key(&row, |r| r.row).ok()
    }

    /// The predicted value of a row.
    pub(crate) fn prediction(&self, position: usize) -> Option<&str> {
        let label = self.rows[position].label?;
        self.info.labels.get(usize::from(label)).map(String::as_str)
    }

    /// The chunk and the block of a position, and the place in the block.
    fn place(&self, position: usize) -> (usize, usize, usize) {
        let chunk = self.starts.partition_point(|start| *start <= position) - 1;
        let within = position - self.starts[chunk];
        (chunk, within / BLOCK_ROWS, within % BLOCK_ROWS)
    }

    /// Reads rows. Each block is read once.
    pub(crate) async fn read_rows(
        &self,
        work: &WorkBucket,
        positions: &[usize],
    ) -> Result<HashMap<usize, FullRow>, Problem> {
        let mut blocks: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
        for position in positions {
            let (chunk, block, place) = self.place(*position);
            let places = blocks.entry((chunk, block)).or_default();
            places.push((place, *position));
        }
        let parts: Vec<Vec<(usize, FullRow)>> = stream::iter(blocks)
            .map(async |((chunk, block), places)| {
                let bounds = self.info.blocks.get(chunk);
                let bounds = bounds.and_then(|all| all.get(block..block + 2));
                let Some([start, end]) = bounds else {
                    return Err(Problem::internal(&"the index has no such block"));
                };
                let key = keys::archived_rows(&self.manifest.run, chunk as u32);
                let bytes = work.get_range(&key, *start..*end).await?;
                let mut lines = Vec::new();
                GzDecoder::new(&*bytes)
                    .take(BLOCK_BYTES)
                    .read_to_end(&mut lines)?;
                let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
                let rows = places.into_iter().map(|(place, position)| {
                    let line = lines.get(place).copied().unwrap_or_default();
                    let (record, outcome) = archive::read_line(line, &self.columns)?;
                    Ok((position, FullRow { record, outcome }))
                });
                rows.collect::<Result<_, Problem>>()
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// A row with its values by column.
    pub(crate) fn values<'a>(&'a self, row: &'a FullRow) -> Row<'a> {
        Row {
            columns: &self.columns,
            record: &row.record,
            outputs: &row.outcome.outputs,
        }
    }

    /// The input columns.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }
}
