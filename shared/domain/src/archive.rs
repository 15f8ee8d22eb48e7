//! Archived rows: `results/<id>/rows/00000.jsonl.gz`, gzipped JSON Lines with one line per record, in
//! the order of the input.
//!
//! A line is the record's line in its chunk with `v` and `outcome` added:
//! `{"v":2,"row":17,"values":{..},"types":{..},"outcome":{"row":17,"status":"ok","outputs":{..},..}}`.
//! `v` is [`ARCHIVE_VERSION`]. Readers ignore unknown fields.
//!
//! `results/<id>/about.json` ([`ArchiveInfo`]) holds everything else that is needed to rebuild the
//! workbook from the folder alone.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::manifest::{MANIFEST_VERSION, Manifest};
use crate::outcome::Outcome;
use crate::reason::Reason;
use crate::record::{Columns, Record};

/// The version that this program writes, and the only one that it reads. Version 1 called phases
/// "stages".
pub const ARCHIVE_VERSION: u32 = 2;

/// The most reasons in [`ArchiveInfo`].
pub const ARCHIVED_REASONS: usize = 10;

/// `results/<id>/about.json`: the run that the archived rows belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveInfo {
    /// See [`ARCHIVE_VERSION`].
    pub v: u32,
    /// When the run started.
    pub started: DateTime<Utc>,
    /// When the result was written.
    pub finished: DateTime<Utc>,
    /// Why rows have no result, most frequent first: at most [`ARCHIVED_REASONS`]. Earlier builds did
    /// not write this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// A copy of the run's manifest, whose original cleanup removes.
    pub manifest: Manifest,
}

impl ArchiveInfo {
    /// Reads `about.json`.
    ///
    /// # Errors
    /// It is not the JSON of such a file, or another version of the program wrote it.
    pub fn from_json(json: &[u8]) -> serde_json::Result<ArchiveInfo> {
        /// The versions alone: the rest of another version may have another shape.
        #[derive(Deserialize)]
        struct Versions {
            v: u32,
            manifest: ManifestVersion,
        }
        #[derive(Deserialize)]
        struct ManifestVersion {
            version: u32,
        }
        let Versions { v, manifest } = serde_json::from_slice(json)?;
        check_version("the archive", v, ARCHIVE_VERSION)?;
        check_version("its manifest", manifest.version, MANIFEST_VERSION)?;
        serde_json::from_slice(json)
    }
}

fn check_version(what: &str, found: u32, known: u32) -> serde_json::Result<()> {
    let program = match found.cmp(&known) {
        Ordering::Equal => return Ok(()),
        Ordering::Less => "older",
        Ordering::Greater => "newer",
    };
    Err(serde::de::Error::custom(format_args!(
        "{what} has version {found}, and this program reads version {known}: use the {program} \
         program that wrote it"
    )))
}

/// Appends the line of a record, including the line break. `chunk_line` is the record's line in its
/// chunk, a JSON object that is copied as it is.
///
/// # Errors
/// `chunk_line` is not a JSON object.
pub fn write_line(
    chunk_line: &[u8],
    outcome: &Outcome,
    to: &mut Vec<u8>,
) -> serde_json::Result<()> {
    let object = chunk_line.trim_ascii();
    let fields = object
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"))
        .ok_or_else(|| serde::ser::Error::custom("the line of the chunk is not a JSON object"))?;
    to.extend_from_slice(b"{\"v\":");
    to.extend_from_slice(ARCHIVE_VERSION.to_string().as_bytes());
    to.push(b',');
    to.extend_from_slice(fields);
    to.extend_from_slice(b",\"outcome\":");
    serde_json::to_writer(&mut *to, outcome)?;
    to.extend_from_slice(b"}\n");
    Ok(())
}

/// Reads a line. `columns` are the input columns; the values of the record are in their order.
///
/// # Errors
/// It is not such a line, or another version of the program wrote it.
pub fn read_line(line: &[u8], columns: &Columns) -> serde_json::Result<(Record, Outcome)> {
    #[derive(Deserialize)]
    struct ArchivedLine {
        v: u32,
        outcome: Outcome,
    }
    let ArchivedLine { v, outcome } = serde_json::from_slice(line)?;
    check_version("the line", v, ARCHIVE_VERSION)?;
    Ok((Record::read_json(line, columns)?, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Status;
    use crate::value::{Kind, Value};

    #[test]
    fn an_archived_line_reads_back() {
        let columns = Columns::new(["ZIP", "Since"]);
        let record = Record {
            row: 17,
            values: vec![
                Some(Value::from("00501")),
                Value::parse("2024-03-01", Kind::Date),
            ],
        };
        let outcome = Outcome {
            row: 17,
            phase: 0,
            status: Status::Ok,
            outputs: vec![(
                "day".into(),
                Value::parse("2024-01-31", Kind::Date).unwrap(),
            )],
            error: None,
            attempts: 1,
            times: vec![],
            steps: 0,
            notes: vec![],
        };
        let mut chunk_line = Vec::new();
        record.write_json(&columns, &mut chunk_line).unwrap();
        let mut line = Vec::new();
        write_line(&chunk_line, &outcome, &mut line).unwrap();
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            "{\"v\":2,\"row\":17,\"values\":{\"ZIP\":\"00501\",\"Since\":\"2024-03-01\"},\
             \"types\":{\"Since\":\"date\"},\"outcome\":{\"row\":17,\"status\":\"ok\",\
             \"outputs\":{\"day\":\"2024-01-31\"},\"types\":{\"day\":\"date\"},\"attempts\":1}}\n"
        );
        assert_eq!(read_line(&line, &columns).unwrap(), (record, outcome));
        let line = String::from_utf8(line).unwrap();
        for (version, program) in [("1", "older"), ("3", "newer")] {
            let other = line.replace("\"v\":2", &format!("\"v\":{version}"));
            let error = read_line(other.as_bytes(), &columns).unwrap_err();
            assert!(error.to_string().contains(program), "{error}");
        }
        assert!(write_line(b"[]", &read_any(), &mut Vec::new()).is_err());
    }

    fn read_any() -> Outcome {
        serde_json::from_str(r#"{"row":1,"status":"ok","attempts":0}"#).unwrap()
    }
}
