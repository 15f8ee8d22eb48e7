//! Answers of a source that all records of a run share, through the whole program.

use std::time::Duration;

use rowmill_tests_local::once::eight_children_ask_once;
use rowmill_tests_local::source::{Answer, Source};

#[test]
fn an_address_is_asked_for_once_in_a_run_of_many_children() {
    // Slow enough for other children to come and want the same.
    let source = Source::start(|path, _| {
        let answer = Answer::Json(format!(r#"{{"said":"{}"}}"#, &path[1..]));
        Answer::After(Duration::from_millis(50), Box::new(answer))
    });
    let step = format!(
        "kind = \"http\"\nurl = \"{}/{{{{ row.Text }}}}\"\ncache = true\nrobots = false\n\
         allow_hosts = [\"127.0.0.1\"]\noutputs = {{ said = {{ json = \"$.said\" }} }}",
        source.url()
    );
    eight_children_ask_once(&source, "/", &step, "said", str::to_owned);
}
