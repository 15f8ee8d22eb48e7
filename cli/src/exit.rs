//! What the program tells the shell.

use std::process::ExitCode;

use crate::output::say;

/// How a command ended. The numbers are part of the interface: scripts and tests read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for is done; of `run`: delivered, every record is `ok`.
    Done,
    /// The run failed: no result, or none that can be trusted. A mail says why.
    RunFailed,
    /// Wrong usage, or an input refused before anything was begun.
    Refused,
    /// Delivered, but some rows are `failed` or `missing`.
    DeliveredWithErrors,
    /// Stopped by Ctrl-C or SIGTERM: the same command goes on.
    Interrupted,
    /// A child of a Batch job; see [`rowmill_domain::config::child_exit`].
    Child(u8),
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::RunFailed => 1,
            Exit::Refused => 2,
            Exit::DeliveredWithErrors => 3,
            // 128 + SIGINT, as shells have it.
            Exit::Interrupted => 130,
            Exit::Child(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// A command that could not be carried out: what to show, and the exit code.
#[derive(Debug)]
pub(crate) struct Stop {
    /// For the person, on stderr; at least one.
    pub(crate) reports: Vec<miette::Report>,
    /// The exit code.
    pub(crate) exit: Exit,
}

impl Stop {
    /// Wrong usage or a refused input: nothing was begun.
    pub(crate) fn refused(report: impl Into<miette::Report>) -> Stop {
        Stop {
            reports: vec![report.into()],
            exit: Exit::Refused,
        }
    }

    /// The same for all of these, if there are any.
    pub(crate) fn all_refused<R: Into<miette::Report>>(reports: Vec<R>) -> Option<Stop> {
        (!reports.is_empty()).then(|| Stop {
            reports: reports.into_iter().map(Into::into).collect(),
            exit: Exit::Refused,
        })
    }

    /// The machine or the program failed at something, `what`.
    pub(crate) fn failed(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Stop {
        Stop {
            reports: vec![miette::miette!("{what}: {why}")],
            exit: Exit::RunFailed,
        }
    }

    /// Shows why, on stderr.
    pub(crate) fn show(&self) {
        for report in &self.reports {
            say!("{report:?}");
        }
    }
}

/// How errors are shown: lines are left as long as they are, so that paths stay whole.
pub(crate) fn set_up_reports() {
    // Only fails where it was set before.
    let _ = miette::set_hook(Box::new(|_| {
        Box::new(miette::MietteHandlerOpts::new().wrap_lines(false).build())
    }));
}
