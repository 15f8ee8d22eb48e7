//! JSON logs.

use std::io;

use rowmill_domain::config::{ROWMILL_LOG, ROWMILL_LOG_DEFAULT};
use rowmill_domain::environment::Environment;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Logs to standard output, one JSON object per line: `timestamp`, `level`, `target`, `fields`
/// (`message` and its values), `span` and `spans`. The spans contain the run, the chunk and the
/// request that a line belongs to. A panic is logged, too.
///
/// If the filter in `ROWMILL_LOG` is invalid, this is logged and the default filter is used.
pub fn log(environment: &Environment) {
    let configured = environment.optional(ROWMILL_LOG);
    let (filter, invalid) = match configured.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(ROWMILL_LOG_DEFAULT), Some(error)),
        None => (EnvFilter::new(ROWMILL_LOG_DEFAULT), None),
    };
    // The layer logs errors of the function again, without the span of the invocation.
    let filter = match "lambda_runtime::layers::panic=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    // Fails only if logging was configured before.
    let _ = tracing::subscriber::set_global_default(subscriber(filter, io::stdout));
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "this is a bug in Rowmill; please report it");
    }));
    if let Some(error) = invalid {
        tracing::warn!(%error, "{ROWMILL_LOG} is invalid; using `{ROWMILL_LOG_DEFAULT}`");
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
        // With a closed output, logging the error would panic.
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
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_contains_run_chunk_and_request() {
        let buffer = Buffer::default();
        let to = buffer.clone();
        let subscriber = subscriber(EnvFilter::new("info"), move || to.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _invocation = tracing::info_span!("invocation", request_id = "r-1").entered();
            let _child = tracing::info_span!("enrich", run = "20261121-a-0", chunk = 7).entered();
            tracing::warn!(row = 3, "a line\nof two");
            tracing::debug!("below the level");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
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
