//! Why a command could not do its work, and how that is shown.

use crate::exit::Exit;
use crate::output::say;

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

    /// Prints the reports to standard error.
    pub(crate) fn show(&self) {
        for report in &self.reports {
            say!("{report:?}");
        }
    }
}

/// Sets how reports are printed: lines are not wrapped, so that paths stay whole.
pub(crate) fn set_up_reports() {
    // Fails only if it was set before.
    let _ = miette::set_hook(Box::new(|_| {
        Box::new(miette::MietteHandlerOpts::new().wrap_lines(false).build())
    }));
}
