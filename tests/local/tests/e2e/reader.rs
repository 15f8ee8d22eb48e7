//! The reader of workbooks beside an independent one.

use rowmill_tests_local::program::built;
use rowmill_tests_local::python;

#[test]
fn values_are_those_that_openpyxl_reads() {
    let books = python::run("openpyxl_equal.py", &[&built("dump-workbook")]);
    assert!(books.trim().parse::<u32>().unwrap() >= 50, "{books}");
}
