//! Where the columns are that a header does not have: in another row, or on another sheet.

use std::path::Path;
use std::time::{Duration, Instant};

use rowmill_domain::SheetRef;
use rowmill_pipeline::Pipeline;
use rowmill_workbook::{Header, ReadError, ReadOptions, read_header};

use crate::read_options::read_options;

/// Sheets to look at. More would make a refusal slow.
const SHEETS: u32 = 20;
/// How long to look. xls files are read as a whole for each sheet.
const TIME: Duration = Duration::from_secs(10);

/// Advice for a workbook whose header does not have all columns that the pipeline mentions: the row or
/// the sheet that has them. `None` if no other has more of them. Reads the headers of other sheets.
pub fn elsewhere(path: &Path, pipeline: &Pipeline, header: &Header) -> Option<String> {
    let wanted = pipeline.input_columns();
    if wanted.iter().all(|name| header.columns.contains(name)) {
        return None;
    }
    let in_row = |row: u32, has: &str| {
        format!("Row {row} {has}: set `header_row = {row}` under [input] in the pipeline.")
    };
    if let Some(better) = header.better_row.filter(|better| better.complete) {
        return Some(in_row(better.row, "has all of these columns"));
    }
    if let Some(sheet) = other_sheet(path, pipeline, &wanted, &header.sheet) {
        return Some(format!(
            "Sheet `{sheet}` has all of these columns: set `sheet = {sheet:?}` under [input] in the \
             pipeline."
        ));
    }
    let better = header.better_row?;
    Some(in_row(better.row, "has more of these columns"))
}

/// Another sheet whose header has the wanted columns.
fn other_sheet(path: &Path, pipeline: &Pipeline, wanted: &[String], read: &str) -> Option<String> {
    let start = Instant::now();
    for index in 1..=SHEETS {
        if start.elapsed() > TIME {
            return None;
        }
        let options = ReadOptions {
            sheet: Some(SheetRef::Index(index)),
            header_row: None,
            ..read_options(pipeline)
        };
        match read_header(path, &options) {
            Ok(header) => {
                let complete = wanted.iter().all(|name| header.columns.contains(name));
                if complete && header.sheet != read {
                    return Some(header.sheet);
                }
            }
            Err(ReadError::NoSheet { .. }) => return None,
            // It is empty, a chart, or damaged.
            Err(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::{Cut, CutError, cut};

    /// A document with these sheets, each with its rows of texts.
    fn document(sheets: &[(&str, &[&[&str]])]) -> String {
        let row = |cells: &&[&str]| {
            let cells = cells.iter().map(|text| {
                format!("<table:table-cell office:value-type=\"string\"><text:p>{text}</text:p></table:table-cell>")
            });
            format!(
                "<table:table-row>{}</table:table-row>",
                cells.collect::<String>()
            )
        };
        let sheets = sheets.iter().map(|(name, rows)| {
            let rows: String = rows.iter().map(row).collect();
            format!("<table:table table:name=\"{name}\">{rows}</table:table>")
        });
        format!(
            "<?xml version=\"1.0\"?><office:document \
             xmlns:office=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\"><office:body>\
             <office:spreadsheet>{}</office:spreadsheet></office:body></office:document>",
            sheets.collect::<String>()
        )
    }

    const PIPELINE: &str = "[input]\nrequired = [\"Id\"]\n[[column]]\nname = \"tax\"\nvalue = \"row['Net due'] + 1\"\n";

    fn cut_file(name: &str, content: &str, input: &str) -> Result<Cut, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let toml = PIPELINE.replace("[input]\n", &format!("[input]\n{input}"));
        let pipeline = Pipeline::parse("p.toml", &toml).unwrap();
        cut(&path, name, &pipeline, None, |_| ControlFlow::Continue(())).map_err(|e| match e {
            CutError::Refused(refusal) => format!("{} -> {}", refusal.what, refusal.advice),
            other => other.to_string(),
        })
    }

    #[test]
    fn a_later_row_with_all_columns_is_the_header() {
        let rows: &[&[&str]] = &[
            &["Acme Ltd", "Report"],
            &["from", "January"],
            &["Id", "Net  due"],
            &["1", "5"],
        ];
        let csv = "Acme Ltd;Report\nfrom;January\n\nId;Net due\n1;5\n";
        for (name, content, header) in [
            ("a.fods", document(&[("S", rows)]), 3),
            ("a.csv", csv.to_owned(), 4),
        ] {
            let cut = cut_file(name, &content, "").unwrap();
            let columns: Vec<&str> = cut.columns.iter().map(|c| c.name.as_str()).collect();
            assert_eq!(columns, ["Id", "Net due"]);
            assert_eq!((cut.rows_in, cut.records()), (1, 1));
            let note = format!(
                "Row {header} is the header, because it has the columns that the pipeline uses; the \
                 rows above it, from row 1, are not records."
            );
            assert!(cut.notes.contains(&note), "{:?}", cut.notes);
        }
    }

    #[test]
    fn a_header_that_is_given_or_far_away_is_suggested() {
        let csv = "a;b\n1;2\nId;Net due\n1;5\n";
        let wrong = cut_file("a.csv", csv, "header_row = 2\n").unwrap_err();
        assert!(
            wrong.contains("the workbook has no column `Id`")
                && wrong.contains(
                    "-> Row 3 has all of these columns: set `header_row = 3` under [input]"
                ),
            "{wrong}"
        );
        // Too far down to be sure.
        let far = format!("a;b\n{}Id;Net due\n1;5\n", "1;2\n".repeat(60));
        let wrong = cut_file("a.csv", &far, "").unwrap_err();
        assert!(
            wrong.contains("Row 62 has all of these columns: set `header_row = 62`"),
            "{wrong}"
        );
        let some = "a;b\n1;2\nId;Net\n1;5\n";
        let wrong = cut_file("a.csv", some, "").unwrap_err();
        assert!(
            wrong.contains("Row 3 has more of these columns: set `header_row = 3`"),
            "{wrong}"
        );
        let none = cut_file("a.csv", "a;b\n1;2\n", "").unwrap_err();
        assert!(!none.contains("header_row"), "{none}");
    }

    #[test]
    fn a_sheet_with_all_columns_is_suggested() {
        let cover: &[&[&str]] = &[&["Contents"], &["Id"]];
        let data: &[&[&str]] = &[&["Title", ""], &["Net due", "Id"], &["5", "1"]];
        let book = document(&[("Cover", cover), ("Empty", &[]), ("Data \"1\"", data)])
            .replace("Data \"1\"", "Data &quot;1&quot;");
        let wrong = cut_file("a.fods", &book, "").unwrap_err();
        assert!(
            wrong.contains(
                "Sheet `Data \"1\"` has all of these columns: set `sheet = \"Data \\\"1\\\"\"` under [input]"
            ),
            "{wrong}"
        );
        let cut = cut_file("a.fods", &book, "sheet = 3\n").unwrap();
        assert_eq!(cut.records(), 1);
    }
}
