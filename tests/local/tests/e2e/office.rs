//! LibreOffice opens the result workbook. It is stricter than Excel in some respects and reports errors.

use rowmill_tests_local::program::Job;
use rowmill_tests_local::python;

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
