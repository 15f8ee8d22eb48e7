//! A result that was saved in another format still says which run wrote it.

// Helpers of a test may panic.
#![allow(clippy::unwrap_used)]
// Not all builders are used here.
#![allow(dead_code)]

mod files;

use files::xls::{Biff, compound, label, number, properties, small_compound, stream};
use rowmill_workbook::{Origin, ReadOptions, read_header};

const PROPERTIES: &str = "\u{5}DocumentSummaryInformation";

fn origin(bytes: &[u8]) -> Option<Origin> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("result.xls");
    std::fs::write(&path, bytes).unwrap();
    let header = read_header(&path, &ReadOptions::default()).unwrap();
    assert_eq!(header.columns, ["A"]);
    header.origin
}

#[test]
fn a_result_saved_as_xls_is_recognized() {
    let run = "20261129-tax-0123456789ab";
    // The last cell is far away: calamine must not see the cells.
    let cells = [label(0, 0, "A"), number(65_535, 0, 0, 1.0)];
    let book = || stream(Biff::Eight, &[], &[("Results", 0, 0, &cells)]);
    let columns = [
        ("Added column 10", "due"),
        ("Added column 2", "tax"),
        ("Review column", "final"),
        ("Run", run),
    ];
    let want = Origin {
        run: run.parse().unwrap(),
        added: vec!["tax".to_owned(), "due".to_owned()],
        review: Some("final".to_owned()),
    };
    for file in [compound, small_compound] {
        let with = |custom: &[(&str, &str)]| {
            origin(&file(&[
                ("Workbook", book()),
                (PROPERTIES, properties(custom)),
            ]))
        };
        assert_eq!(with(&columns), Some(want.clone()));
        assert_eq!(with(&[("Run", "a marathon")]), None);
        assert_eq!(with(&columns[..2]), None);
        assert_eq!(origin(&file(&[("Workbook", book())])), None);
    }
}
