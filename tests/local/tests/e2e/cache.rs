//! All records of a run share the answers of a source.

use std::time::Duration;

use rowmill_tests_local::once::eight_children_ask_once;
use rowmill_tests_local::source::{Answer, Source};

#[test]
fn children_of_a_run_request_each_address_once() {
    // Slow enough that other children need the same answer while it is pending.
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
