//! LibreOffice opens the result workbook. It is stricter than Excel in some respects and reports errors.
//! And it reads the same values from workbooks as we do.

use std::path::Path;

use rowmill_tests_local::program::{Job, built};
use rowmill_tests_local::workbook::Book;
use rowmill_tests_local::{node, python};

use crate::validators::{EVERYTHING, everything};

#[test]
#[ignore = "needs LibreOffice; .ci/run runs it if soffice is installed"]
fn libreoffice_saves_a_result_with_the_same_cells_and_formats() {
    let job = Job::new(&everything(), EVERYTHING);
    let ran = job.run(&[]).expect(3);
    assert_eq!(
        (&ran.json["failed"], &ran.json["rejected"]),
        (&49.into(), &6.into())
    );

    let result = job.out().join("input-result.xlsx");
    let same = python::run("office_equal.py", &[&result]);
    // 294 records with more than 12 columns, of which a fifth have no note, and the other two sheets.
    assert!(same.trim().parse::<u32>().unwrap() > 3000, "{same}");
}

/// On a phone and on a desktop, in light and in dark mode.
#[test]
#[ignore = "needs Chromium; .ci/run runs it if chromium is installed"]
fn emails_fit_and_have_contrast_in_chromium() {
    let errors = Job::new(&everything(), EVERYTHING);
    errors.run(&[]).expect(3);
    let delivered = Job::new(&Book::numbered(20), "");
    delivered.run(&[]).expect(0);
    let all =
        "[[check]]\nrule = 'row.Amount < 0.0'\non_failure = 'fail'\n[batch]\ntolerate = '5%'\n";
    let failed = Job::new(&Book::numbered(20), all);
    failed.run(&[]).expect(1);
    let folders = [errors.out(), delivered.out(), failed.out()];
    let folders: Vec<&Path> = folders.iter().map(|folder| &**folder).collect();
    let texts = python::run("render_mail.py", &folders);
    assert!(texts.trim().parse::<u32>().unwrap() > 200, "{texts}");
}

/// SheetJS writes records that calamine does not read, and is what writes most xlsb files besides Excel.
#[test]
#[ignore = "needs LibreOffice and Node.js; .ci/run runs it if soffice is installed"]
fn libreoffice_reads_the_same_values_of_every_kind_from_ods_and_xlsb() {
    let folder = tempfile::tempdir().unwrap();
    let written = node::run("kinds.mjs", &[folder.path()]);
    assert!(written.status.success(), "{written:?}");
    let counts = python::run("kinds_equal.py", &[&built("dump-workbook"), folder.path()]);
    let counts: Vec<u32> = counts
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert_eq!(counts[0], 6, "files");
    assert!(counts[1] > 200, "{counts:?}");
}
