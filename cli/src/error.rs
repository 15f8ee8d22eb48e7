//! Why a command could not do its work, and how that is shown.

use miette::{GraphicalTheme, ThemeCharacters, ThemeStyles};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::output::{self, say};

/// A command that could not do its work: what to show, and the exit code.
#[derive(Debug)]
pub(crate) struct CliError {
    /// What to print to standard error; at least one report.
    pub(crate) reports: Vec<miette::Report>,
    /// The exit code.
    pub(crate) exit: Exit,
}

impl CliError {
    /// Wrong usage or a refused input. Nothing has started.
    pub(crate) fn refused(report: impl Into<miette::Report>) -> CliError {
        CliError {
            reports: vec![report.into()],
            exit: Exit::Refused,
        }
    }

    /// Several refusals as one error, or `None` if there are none.
    pub(crate) fn all_refused<R: Into<miette::Report>>(reports: Vec<R>) -> Option<CliError> {
        (!reports.is_empty()).then(|| CliError {
            reports: reports.into_iter().map(Into::into).collect(),
            exit: Exit::Refused,
        })
    }

    /// The machine or the program failed to do `what`.
    pub(crate) fn failed(what: impl std::fmt::Display, why: impl std::fmt::Display) -> CliError {
        CliError {
            reports: vec![miette::miette!("{what}: {why}")],
            exit: Exit::Failed,
        }
    }

    /// The reasons, each with its position and its advice, one per line.
    pub(crate) fn in_words(&self) -> String {
        let mut errors = Vec::new();
        for report in &self.reports {
            add(report.as_ref(), &mut errors);
        }
        let text = |error: &Value, name: &str| error[name].as_str().map(str::to_owned);
        let lines = errors.iter().map(|error| {
            let reason = text(error, "reason").unwrap_or_default();
            let mut line = match text(error, "at") {
                Some(at) => format!("{at}: {reason}"),
                None => reason,
            };
            if let Some(advice) = text(error, "advice") {
                line += &format!(" ({advice})");
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Prints the reports to standard error. If the command prints JSON, also the reasons and the
    /// advice to standard output.
    pub(crate) fn show(&self, as_json: bool) {
        for report in &self.reports {
            say!("{report:?}");
        }
        if as_json {
            output::json(&self.json());
        }
    }

    /// `{"state": "refused", "errors": [{"reason": .., "advice": .., "at": ..}]}`
    fn json(&self) -> Value {
        let state = match self.exit {
            Exit::Refused => "refused",
            _ => "failed",
        };
        let mut errors = Vec::new();
        for report in &self.reports {
            add(report.as_ref(), &mut errors);
        }
        json!({ "state": state, "errors": errors })
    }
}

/// Adds a report and those related to it. An error in a file has its position: `tax.toml:3:10`.
fn add(report: &dyn miette::Diagnostic, errors: &mut Vec<Value>) {
    let label = report.labels().and_then(|mut labels| labels.next());
    let at = label.zip(report.source_code()).and_then(|(label, source)| {
        let found = source.read_span(label.inner(), 0, 0).ok()?;
        let (line, column) = (found.line() + 1, found.column() + 1);
        Some(format!(
            "{}:{line}:{column}",
            found.name().unwrap_or_default()
        ))
    });
    errors.push(json!({
        "reason": report.to_string(),
        "advice": report.help().map(|help| help.to_string()),
        "at": at,
    }));
    for related in report.related().into_iter().flatten() {
        add(related, errors);
    }
}

/// Sets how reports are printed. Every error starts with `error:`, as those about the command line do,
/// and lines are not wrapped, so that paths stay whole. Colors are for terminals only.
pub(crate) fn set_up_reports() {
    let styles = match console::colors_enabled_stderr() {
        true => ThemeStyles::ansi(),
        false => ThemeStyles::none(),
    };
    let characters = ThemeCharacters {
        error: "error:".to_owned(),
        ..ThemeCharacters::unicode()
    };
    let theme = GraphicalTheme { characters, styles };
    // Fails only if it was set before.
    let _ = miette::set_hook(Box::new(move |_| {
        let options = miette::MietteHandlerOpts::new().wrap_lines(false);
        Box::new(options.graphical_theme(theme.clone()).build())
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::miette;
    use rowmill_pipeline::Pipeline;

    #[test]
    fn errors_as_json_have_reason_advice_and_position() {
        let toml = "[input]\nkye = []\n[batch]\nattempts = 99\n";
        let wrong = Pipeline::parse("tax.toml", toml).unwrap_err();
        let json = CliError::refused(*wrong).json();
        assert_eq!(json["state"], "refused");
        let errors = json["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 2, "{json}");
        assert_eq!(errors[0]["at"], "tax.toml:2:1");
        assert!(
            errors[0]["advice"].as_str().unwrap().contains("key"),
            "{json}"
        );
        assert!(errors[1]["at"].as_str().unwrap().starts_with("tax.toml:4:"));

        let plain = CliError::failed("cannot write out.xlsx", "no space").json();
        assert_eq!(plain["state"], "failed");
        assert_eq!(
            plain["errors"][0]["reason"],
            "cannot write out.xlsx: no space"
        );
        let advice = CliError::refused(miette!(help = "free some", "no space")).json();
        assert_eq!(advice["errors"][0]["advice"], "free some");
    }
}
