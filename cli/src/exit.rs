//! The exit codes: the one place that defines them, and their explanation in `--help`.

use std::process::ExitCode;

/// The table in `rowmill --help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done; for `run`: delivered, and every record is ok
  1    the run failed (an email says why), or the command could not finish
  2    wrong usage, or an input refused before anything started
  3    delivered, but some rows are failed or missing; for `preview`: some rows failed
  130  stopped by Ctrl-C or SIGTERM; run the same command again to resume";

/// How a command ended. The numbers are part of the interface: scripts and tests read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did everything. For `run`: delivered, and every record is `ok`.
    Done,
    /// The run failed and has no reliable result, or the command could not finish its work.
    Failed,
    /// Wrong usage, or an input refused before anything started.
    Refused,
    /// Delivered, but some rows are `failed` or `missing`.
    DeliveredWithErrors,
    /// Stopped by Ctrl-C or SIGTERM; the same command resumes.
    Interrupted,
    /// The exit code of a child of a Batch job; see [`rowmill_domain::config::child_exit`].
    Child(u8),
}

impl Exit {
    /// The exit code of the process.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Refused => 2,
            Exit::DeliveredWithErrors => 3,
            // 128 + SIGINT, as in shells.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_explains_every_exit_code_of_a_command() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Refused,
            Exit::DeliveredWithErrors,
            Exit::Interrupted,
        ] {
            let line = format!("\n  {:<5}", exit.code());
            assert!(EXIT_CODES.contains(&line), "{exit:?}");
        }
    }
}
