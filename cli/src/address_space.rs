//! Refuses to start where memory is too scarce to report that it is.
//!
//! A failed allocation ends a Rust program at once, with a signal and without a message. What a workbook
//! may take is bounded ([`ReadLimits`](rowmill_workbook::ReadLimits)), so a process with more address
//! space than that does not fail.

use miette::miette;
use rustix::process::{Resource, getrlimit};

use crate::error::CliError;

/// The address space that a command needs, in bytes: the program with its libraries, threads and their
/// heaps (300 MiB, most of it reserved and not used), and what reading within the default limits can take
/// (a table of strings of 256 MiB, and 128 MiB of a file that must be loaded), rounded up.
const NEEDED: u64 = 1 << 30;

/// Checks the limit of this process (`ulimit -v`).
pub(crate) fn check() -> Result<(), CliError> {
    match getrlimit(Resource::As).current {
        Some(limit) if limit < NEEDED => Err(CliError::refused(miette!(
            help = "raise the limit with `ulimit -v unlimited`, and repeat the command",
            "the address space of this process is limited to {} MiB, and a workbook can need {} MiB",
            limit >> 20,
            NEEDED >> 20
        ))),
        _ => Ok(()),
    }
}
