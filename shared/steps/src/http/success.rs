//! What of a response is a success.

use rowmill_domain::record::Outputs;
use rowmill_domain::{Row, Value};

use super::Http;
use super::fault::Fault;
use super::response::Fetched;

impl Http {
    /// The outputs, where the response is a success.
    pub(super) fn conclude(&self, row: Row<'_>, fetched: &Fetched) -> Result<Outputs, Fault> {
        self.succeeds(row, fetched)?;
        self.extractor.extract(fetched).map_err(Fault::answered)
    }

    /// Whether the response is a success: by the step's rule, else by its status.
    pub(super) fn succeeds(&self, row: Row<'_>, fetched: &Fetched) -> Result<(), Fault> {
        let status = fetched.status;
        let Some(rule) = &self.ok_when else {
            return match status.is_success() {
                true => Ok(()),
                false => Err(Fault::status(fetched, status.to_string())),
            };
        };
        let mut seen = row.outputs.to_vec();
        seen.extend(self.extractor.present(fetched));
        seen.push(("status".into(), f64::from(status.as_u16()).into()));
        let seen = Row {
            outputs: &seen,
            ..row
        };
        let reason = match rule.eval(seen) {
            Ok(Value::Bool(true)) => return Ok(()),
            Ok(_) => format!("{status}, and `{}` does not hold", rule.source()),
            Err(e) => format!("{status}, and `{}`: {e}", rule.source()),
        };
        if status.is_success() {
            // The host works, and may have the answer later.
            return Err(Fault {
                again: true,
                ..Fault::answered(reason)
            });
        }
        Err(Fault::status(fetched, reason))
    }
}
