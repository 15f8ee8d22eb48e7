//! Decides whether a response is a success.

use rowmill_domain::record::Outputs;
use rowmill_domain::{Row, Value};

use super::Http;
use super::attempt_error::AttemptError;
use super::extract::Extracted;
use super::response::HttpResponse;

impl Http {
    /// The outputs of a response that is a success.
    pub(super) fn outputs(
        &self,
        row: Row<'_>,
        response: &HttpResponse,
        extracted: Extracted,
    ) -> Result<Outputs, AttemptError> {
        self.check_success(row, response, &extracted)?;
        self.extractor
            .outputs(response, extracted)
            .map_err(AttemptError::permanent)
    }

    /// Checks that the response is a success: by the step's rule, or else by its status.
    pub(super) fn check_success(
        &self,
        row: Row<'_>,
        response: &HttpResponse,
        extracted: &Extracted,
    ) -> Result<(), AttemptError> {
        let status = response.status;
        let Some(rule) = &self.ok_when else {
            return match status.is_success() {
                true => Ok(()),
                false => Err(AttemptError::status(
                    response,
                    response.status_and_start(),
                    &self.retry_on,
                )),
            };
        };
        let mut outputs = row.outputs.to_vec();
        outputs.extend(self.extractor.present(extracted));
        outputs.push(("status".into(), f64::from(status.as_u16()).into()));
        let row = Row {
            outputs: &outputs,
            ..row
        };
        let reason = match rule.eval(row) {
            Ok(Value::Bool(true)) => return Ok(()),
            Ok(_) => format!("{status}, and `{}` is false", rule.source()),
            Err(e) => format!("{status}, and `{}`: {e}", rule.source()),
        };
        if status.is_success() {
            // The host works; the answer may be ready later.
            return Err(AttemptError {
                retryable: true,
                ..AttemptError::permanent(reason)
            });
        }
        // What the source says comes last.
        let said = response.status_and_start();
        let said = said.strip_prefix(&status.to_string()).unwrap_or_default();
        Err(AttemptError::status(
            response,
            reason + said,
            &self.retry_on,
        ))
    }
}
