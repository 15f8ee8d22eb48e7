//! Removes the values of secrets from the results of a step.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use rowmill_domain::secret::Secrets;
use rowmill_domain::{Row, Value};

use crate::{Runner, StepResult};

/// Wraps a step and redacts its results, even where a source or program echoes a secret.
pub(crate) struct Redacting {
    pub(crate) inner: Box<dyn Runner>,
    pub(crate) secrets: Arc<Secrets>,
}

#[async_trait]
impl Runner for Redacting {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let mut result = self.inner.run(row).await;
        match &mut result.outputs {
            Ok(outputs) => {
                for (_, value) in outputs {
                    if let Cow::Owned(redacted) = self.secrets.redact(&value.to_text()) {
                        *value = Value::Text(redacted);
                    }
                }
            }
            Err(reason) => redact(&self.secrets, reason),
        }
        for note in &mut result.notes {
            redact(&self.secrets, note);
        }
        result
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Replaces the values of secrets in `text`.
pub(crate) fn redact(secrets: &Secrets, text: &mut String) {
    if let Cow::Owned(redacted) = secrets.redact(text) {
        *text = redacted;
    }
}

#[cfg(test)]
mod tests {
    use rowmill_domain::record::Columns;
    use rowmill_domain::{Record, Row};

    use super::*;

    struct Echo(StepResult);

    #[async_trait]
    impl Runner for Echo {
        async fn run(&self, _: Row<'_>) -> StepResult {
            self.0.clone()
        }
        async fn close(&self) {}
    }

    #[tokio::test]
    async fn secrets_are_removed_from_outputs_reasons_and_notes() {
        let secrets: Secrets = [("KEY", "s3cret"), ("PIN", "12345678")]
            .into_iter()
            .collect();
        let outputs = vec![
            ("a".into(), Value::from("is s3cret")),
            ("b".into(), Value::Number(12_345_678.0)),
            ("c".into(), Value::Number(5.0)),
        ];
        let mut ok = StepResult::ok(outputs, 1);
        ok.notes.push("note s3cret".to_owned());
        let columns = Columns::new(["ID"]);
        let record = Record {
            row: 2,
            values: vec![None],
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        let run = |result| Redacting {
            inner: Box::new(Echo(result)),
            secrets: Arc::new(secrets.clone()),
        };
        let result = run(ok).run(row).await;
        let expected = vec![
            ("a".into(), Value::from("is [secret KEY]")),
            ("b".into(), Value::from("[secret PIN]")),
            ("c".into(), Value::Number(5.0)),
        ];
        assert_eq!(result.outputs, Ok(expected));
        assert_eq!(result.notes, ["note [secret KEY]"]);
        let result = run(StepResult::failed("s3cret!", 1)).run(row).await;
        assert_eq!(result.outputs, Err("[secret KEY]!".into()));
    }
}
