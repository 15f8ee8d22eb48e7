use std::io;

use rowmill_domain::config::{ROWMILL_LOG, ROWMILL_LOG_DEFAULT};
use rowmill_domain::environment::Environment;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Logs to standard output from now on, one JSON object a line: `timestamp`, `level`, `target`,
/// `fields` (`message` and what it tells), `span` and `spans`, in which run, chunk and request
/// stand on every line that is logged on their behalf. A panic is a line as well.
///
/// A filter that cannot be read is told in the log, and the default holds.
pub fn log(environment: &Environment) {
    let wanted = environment.optional(ROWMILL_LOG);
    let (filter, wrong) = match wanted.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(ROWMILL_LOG_DEFAULT), Some(error)),
        None => (EnvFilter::new(ROWMILL_LOG_DEFAULT), None),
    };
    // It tells errors of the function once more, outside of the invocation's span.
    let filter = match "lambda_runtime::layers::panic=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    // Fails only where logging was set up before; then that holds.
    let _ = tracing::subscriber::set_global_default(subscriber(filter, io::stdout));
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "a defect of Rowmill, please report it");
    }));
    if let Some(error) = wrong {
        tracing::warn!(%error, "{ROWMILL_LOG} cannot be read; `{ROWMILL_LOG_DEFAULT}` holds");
    }
}

fn subscriber<W>(filter: EnvFilter, to: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(to)
        // It would tell of a closed output on that output, and panic.
        .log_internal_errors(false)
        .finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn run_chunk_and_request_stand_on_every_line() {
        let kept = Kept::default();
        let to = kept.clone();
        let subscriber = subscriber(EnvFilter::new("info"), move || to.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _invocation = tracing::info_span!("invocation", request_id = "r-1").entered();
            let _child = tracing::info_span!("enrich", run = "20261121-a-0", chunk = 7).entered();
            tracing::warn!(row = 3, "a line\nof two");
            tracing::debug!("not this one");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [line] = &lines[..] else { panic!("{text}") };
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["fields"]["message"], "a line\nof two");
        assert_eq!(line["fields"]["row"], 3);
        assert_eq!(line["span"]["run"], "20261121-a-0");
        assert_eq!(line["span"]["chunk"], 7);
        assert_eq!(line["spans"][0]["request_id"], "r-1");
    }
}
