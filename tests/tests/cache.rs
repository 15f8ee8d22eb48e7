//! Answers of a source that all records of a run share, through the whole program.

use std::time::Duration;

use rowmill_tests::program::Job;
use rowmill_tests::source::{Answer, Source};
use rowmill_tests::workbook::Book;

#[test]
fn an_address_is_asked_for_once_in_a_run_of_many_children() {
    // Slow enough for other children to come and want the same.
    let source = Source::start(|path, _| {
        let answer = Answer::Json(format!(r#"{{"said":"{}"}}"#, &path[1..]));
        Answer::After(Duration::from_millis(50), Box::new(answer))
    });
    let pipeline = format!(
        "[[step]]\nkind = \"http\"\nurl = \"{}/{{{{ row.Place }}}}\"\ncache = true\nrobots = false\n\
         allow_hosts = [\"127.0.0.1\"]\noutputs = {{ said = {{ json = \"$.said\" }} }}\n\
         [batch]\nseconds_per_record = 4.8\nconcurrency = 2\n",
        source.url()
    );
    // Eight children of 100 records, each of which has all of the places.
    let place = |row: usize| format!("place-{}", row * 7 % 40);
    let book = Book::new(&["Place"], (0..800).map(|row| vec![place(row)]));
    let job = Job::new(&book, &pipeline);
    // Each run is for itself.
    for (runs, args) in [
        (1, &["--slots", "8"][..]),
        (2, &["--slots", "8", "--force"]),
    ] {
        let ran = job.run(args).expect(0);
        assert_eq!(ran.json["ok"], 800);
        let said = job.result().texts("said");
        assert!(
            said.iter()
                .enumerate()
                .all(|(row, said)| *said == place(row))
        );
        let asked = source.hits();
        assert_eq!(asked.len(), 40);
        assert!(asked.values().all(|times| *times == runs), "{asked:?}");
    }
}
