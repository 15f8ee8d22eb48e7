//! The workbook reader returns the same values as openpyxl.

use rowmill_tests_local::program::built;
use rowmill_tests_local::python;

#[test]
fn values_equal_those_of_openpyxl() {
    let books = python::run("openpyxl_equal.py", &[&built("dump-workbook")]);
    assert!(books.trim().parse::<u32>().unwrap() >= 50, "{books}");
}
