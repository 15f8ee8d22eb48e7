//! The workbooks that are processed: each row has its own text, and some are rejected or refused by
//! the source.

use std::fmt::Write as _;

/// A file for the inbox.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its name, without folder.
    pub name: String,
    /// Rows that become records.
    pub records: u32,
}

impl Upload {
    /// The content of the file. Every seventh row has no id and is rejected.
    pub fn csv(&self) -> String {
        let mut text = "id,text\n".to_owned();
        for n in 1..=self.records {
            let (name, refused) = (&self.name, if n % 9 == 0 { " refused" } else { "" });
            let _ = writeln!(text, "{n},Row {n} of {name}{refused}");
            if n % 7 == 0 {
                text += ",without an id\n";
            }
        }
        text
    }

    /// The number of rows that are rejected.
    pub fn rejected(&self) -> u64 {
        u64::from(self.records / 7)
    }
}

/// The row and the name of the upload that a text is from.
pub fn row_of(text: &str) -> Option<(u32, &str)> {
    let (number, rest) = text.strip_prefix("Row ")?.split_once(" of ")?;
    let number: u32 = number.parse().ok()?;
    let name = rest.split(' ').next()?;
    // After the header, and the rows without an id.
    Some((1 + number + (number - 1) / 7, name))
}

/// The name of the pipeline.
pub const PIPELINE_NAME: &str = "storm";

/// This pipeline with another check and another derived column, so that its runs can be re-evaluated.
pub fn changed(pipeline: &str) -> String {
    pipeline
        .replace("int(row.id) != 4", "int(row.id) != 5")
        .replace("int(row.id) * 2", "int(row.id) * 2 + 1")
}

/// A pipeline of two phases, with a step that sends requests, a check and a derived column.
pub fn pipeline(records_per_child: u32, concurrency: u32) -> String {
    format!(
        r#"
[input]
required = ["id"]

[[step]]
kind = "translate"
column = "text"
to = "de"
service = "amazon"

[[step]]
kind = "sentiment"
column = "text"
image = "other"

[[check]]
rule = "int(row.id) != 4"

[[column]]
name = "twice"
value = "int(row.id) * 2"

[batch]
records_per_child = {records_per_child}
concurrency = {concurrency}
"#
    )
}
