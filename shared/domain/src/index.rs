//! The index of a run's archived rows: what a page of rows, a filter and a count need, without reading
//! the rows.
//!
//! | object | content |
//! |---|---|
//! | `results/<id>/index/about.json` | [`IndexInfo`]: columns, labels, and where blocks of rows start |
//! | `results/<id>/index/rows.bin` | [`IndexRow`]s in the order of the archive, 12 bytes each |
//!
//! A file of archived rows consists of blocks of [`BLOCK_ROWS`] rows, each a gzip member of its own, so
//! that one block can be read without the others.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::outcome::{Outcome, Status};
use crate::record::{Columns, Record, Row};
use crate::value::Value;

/// The version that this program writes, and the only one that it reads.
pub const INDEX_VERSION: u32 = 1;

/// Rows in a block. Its compressed size is about 10 KiB: small enough to read for one row.
pub const BLOCK_ROWS: usize = 128;

/// The most labels that are counted. A column with more values has no classes.
pub const LABELS_MAX: usize = 1000;

/// The bytes of an [`IndexRow`].
const ROW_BYTES: usize = 12;

/// A row without a label.
const NO_LABEL: u16 = u16::MAX;

/// `results/<id>/index/about.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexInfo {
    /// See [`INDEX_VERSION`].
    pub v: u32,
    /// All columns of the result, input columns first.
    pub columns: Vec<String>,
    /// The column that is reviewed. `None`: the pipeline has no `[[review]]`.
    pub review: Option<ReviewedColumn>,
    /// The distinct values of the reviewed column, at most [`LABELS_MAX`]: an [`IndexRow`] refers to
    /// them by position.
    pub labels: Vec<String>,
    /// For each chunk, where its blocks start in the file of archived rows, and the size of the file.
    pub blocks: Vec<Vec<u64>>,
}

/// The column that is reviewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewedColumn {
    /// Its name.
    pub column: String,
    /// The column with the probability of its value, if there is one.
    pub probability: Option<String>,
}

/// A row in the index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexRow {
    /// The row number in the input.
    pub row: u32,
    /// The status.
    pub status: Status,
    /// The position of the label in [`IndexInfo::labels`].
    pub label: Option<u16>,
    /// The probability of the label.
    pub probability: Option<f32>,
}

/// Builds the index while rows are archived.
#[derive(Debug)]
pub struct IndexBuilder {
    info: IndexInfo,
    positions: HashMap<String, u16>,
    rows: Vec<u8>,
}

impl IndexBuilder {
    /// An empty index for rows with these columns.
    pub fn new(columns: Vec<String>, review: Option<ReviewedColumn>) -> IndexBuilder {
        IndexBuilder {
            info: IndexInfo {
                v: INDEX_VERSION,
                columns,
                review,
                labels: Vec::new(),
                blocks: Vec::new(),
            },
            positions: HashMap::new(),
            rows: Vec::new(),
        }
    }

    /// Adds the next row.
    pub fn row(&mut self, columns: &Columns, record: &Record, outcome: &Outcome) {
        let row = Row {
            columns,
            record,
            outputs: &outcome.outputs,
        };
        let review = self.info.review.as_ref();
        let label = review.and_then(|review| row.get(&review.column));
        let probability = review.and_then(|review| row.get(review.probability.as_ref()?));
        let probability = match probability {
            Some(Value::Number(number)) => *number as f32,
            _ => f32::NAN,
        };
        let label = label.map(Value::to_text);
        let label = label.map_or(NO_LABEL, |label| self.position(label));
        let status = match outcome.status {
            Status::Ok => 0,
            Status::Failed => 1,
            Status::Missing => 2,
        };
        self.rows.extend_from_slice(&record.row.to_le_bytes());
        self.rows.extend_from_slice(&label.to_le_bytes());
        self.rows.extend_from_slice(&[status, 0]);
        self.rows.extend_from_slice(&probability.to_le_bytes());
    }

    fn position(&mut self, label: String) -> u16 {
        if let Some(at) = self.positions.get(&label) {
            return *at;
        }
        // The limit fits.
        let at = u16::try_from(self.info.labels.len()).unwrap_or(NO_LABEL);
        if usize::from(at) >= LABELS_MAX {
            return NO_LABEL;
        }
        self.info.labels.push(label.clone());
        self.positions.insert(label, at);
        at
    }

    /// Adds where the blocks of the next chunk start, and the size of its file.
    pub fn chunk(&mut self, blocks: Vec<u64>) {
        self.info.blocks.push(blocks);
    }

    /// The content of both objects.
    ///
    /// # Errors
    /// Never: all fields can be serialized.
    pub fn finish(self) -> serde_json::Result<(Vec<u8>, Vec<u8>)> {
        Ok((serde_json::to_vec(&self.info)?, self.rows))
    }
}

/// Reads both objects.
///
/// # Errors
/// They are not an index, or another version wrote them.
pub fn read_index(about: &[u8], rows: &[u8]) -> serde_json::Result<(IndexInfo, Vec<IndexRow>)> {
    use serde::de::Error as _;
    let info: IndexInfo = serde_json::from_slice(about)?;
    if info.v != INDEX_VERSION || !rows.len().is_multiple_of(ROW_BYTES) {
        return Err(serde_json::Error::custom(format_args!(
            "the index has version {}, and this program reads version {INDEX_VERSION}",
            info.v
        )));
    }
    let rows = rows.chunks_exact(ROW_BYTES).map(|bytes| {
        let status = match bytes[6] {
            0 => Status::Ok,
            1 => Status::Failed,
            2 => Status::Missing,
            other => {
                let what = format_args!("unknown status {other} in the index");
                return Err(serde_json::Error::custom(what));
            }
        };
        let label = u16::from_le_bytes([bytes[4], bytes[5]]);
        let probability = f32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        Ok(IndexRow {
            row: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            status,
            label: (label != NO_LABEL).then_some(label),
            probability: (!probability.is_nan()).then_some(probability),
        })
    });
    let rows = rows.collect::<serde_json::Result<_>>()?;
    Ok((info, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_reads_back() {
        let columns = Columns::new(["text"]);
        let review = ReviewedColumn {
            column: "label".into(),
            probability: Some("probability".into()),
        };
        let names = ["text", "label", "probability"].map(str::to_owned);
        let mut builder = IndexBuilder::new(names.into(), Some(review.clone()));
        let mut add = |row, label: Option<&str>, probability: Option<f64>, status| {
            let mut outputs = Vec::new();
            outputs.extend(label.map(|label| ("label".into(), label.into())));
            outputs.extend(probability.map(|p| ("probability".into(), p.into())));
            let outcome = Outcome {
                row,
                phase: 0,
                status,
                outputs,
                error: None,
                attempts: 1,
                times: Vec::new(),
                steps: 0,
                notes: Vec::new(),
            };
            let values = vec![Some("a".into())];
            builder.row(&columns, &Record { row, values }, &outcome);
        };
        add(2, Some("billing"), Some(0.5), Status::Ok);
        add(3, None, None, Status::Failed);
        add(9, Some("praise"), Some(0.25), Status::Ok);
        add(10, Some("billing"), None, Status::Missing);
        builder.chunk(vec![0, 100]);
        let (about, rows) = builder.finish().unwrap();
        assert_eq!(rows.len(), 4 * ROW_BYTES);
        let (info, rows) = read_index(&about, &rows).unwrap();
        assert_eq!(info.labels, ["billing", "praise"]);
        assert_eq!(
            (info.review, info.blocks),
            (Some(review), vec![vec![0, 100]])
        );
        let row = |row, status, label, probability| IndexRow {
            row,
            status,
            label,
            probability,
        };
        let expected = [
            row(2, Status::Ok, Some(0), Some(0.5)),
            row(3, Status::Failed, None, None),
            row(9, Status::Ok, Some(1), Some(0.25)),
            row(10, Status::Missing, Some(0), None),
        ];
        assert_eq!(rows, expected);
        assert!(read_index(&about, &[0; 5]).is_err());
    }
}
