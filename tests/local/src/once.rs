//! A run in which all children need the same answers and each answer is requested once.

use crate::program::Job;
use crate::source::Source;
use crate::workbook::Book;

/// Runs a step over 800 rows in eight concurrent children, then again as a second run. The slice of
/// each child contains the same forty texts in its column `Text`. Asserts that `output` holds what
/// `expected` returns for each text, and that the source receives each request whose target starts
/// with `path` once per run.
#[track_caller]
pub fn eight_children_ask_once(
    source: &Source,
    path: &str,
    step: &str,
    output: &str,
    expected: fn(&str) -> String,
) {
    let pipeline = format!("[[step]]\n{step}\n[batch]\nrecords_per_child = 100\nconcurrency = 2\n");
    let text = |row: usize| format!("satz-{}", row * 7 % 40);
    let book = Book::new(&["Text"], (0..800).map(|row| vec![text(row)]));
    let job = Job::new(&book, &pipeline);
    for (runs, args) in [
        (1, &["--slots", "8"][..]),
        (2, &["--slots", "8", "--force"]),
    ] {
        let ran = job.run(args).expect(0);
        assert_eq!(ran.json["ok"], 800);
        for (row, found) in job.result().texts(output).iter().enumerate() {
            assert_eq!(*found, expected(&text(row)));
        }
        let mut asked = source.hits();
        asked.retain(|asked, _| asked.starts_with(path));
        assert_eq!(asked.len(), 40);
        assert!(asked.values().all(|times| *times == runs), "{asked:?}");
    }
}
