//! Which part of a run a child works on, and what it did.

use std::fmt;

use rowmill_domain::{RunId, Status};

/// Which part of a run a child works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The run.
    pub run: RunId,
    /// The chunk, counted from 0.
    pub chunk: u32,
    /// The phase, counted from 0.
    pub phase: u16,
    /// Whether it belongs to the second round of the run, in which only some children run again.
    pub second_round: bool,
    /// The index in the array job. `None` for a plain job, which works on the whole chunk.
    pub index: Option<u32>,
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "run {}, chunk {}, phase {}",
            self.run, self.chunk, self.phase
        )?;
        if self.second_round {
            f.write_str(", second round")?;
        }
        match self.index {
            Some(index) => write!(f, ", child {index}"),
            None => Ok(()),
        }
    }
}

/// What a child did. Every record of its slice has an outcome, unless the run is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildReport {
    /// Records of the slice.
    pub records: u64,
    /// How many of them an earlier attempt had done.
    pub resumed: u64,
    /// Records that this attempt finished with status `ok`.
    pub ok: u64,
    /// Records that this attempt finished with status `failed`, including those that failed in an
    /// earlier phase.
    pub failed: u64,
    /// Records that were left, because the run is stopped. An earlier attempt may have done some of them.
    pub left: u64,
}

impl ChildReport {
    pub(crate) fn count(&mut self, status: Status) {
        match status {
            Status::Ok => self.ok += 1,
            Status::Failed | Status::Missing => self.failed += 1,
        }
    }
}
