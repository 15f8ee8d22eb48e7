//! The second round of a run: one further job for each chunk and phase in which children failed for a
//! reason that more memory or other capacity removes.

use serde::{Deserialize, Serialize};

use crate::job::{DependencyType, JobName, PlannedJob, Resources};
use crate::run::RunId;

/// The start of the reason for which a job that waits for capacity is terminated. Its records run
/// On-Demand in the second round.
pub const NO_CAPACITY: &str = "no capacity";

/// The version that this program writes and reads.
pub const SECOND_ROUND_VERSION: u32 = 1;

/// `runs/<id>/second-round.json`: what the second round does. It is written before the first of its
/// jobs is submitted, and not changed afterwards, except to say that Batch refused a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecondRound {
    /// See [`SECOND_ROUND_VERSION`].
    pub version: u32,
    /// The run.
    pub run: RunId,
    /// The chunks that it repeats, in order.
    pub chunks: Vec<ChunkAgain>,
    /// Why there is no second round after all: Batch refused a job for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The children of one chunk that run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkAgain {
    /// The index of the chunk.
    pub chunk: u32,
    /// The children of the first round that failed, as ranges: the first and the last of each.
    pub children: Vec<(u32, u32)>,
    /// How many of them ran out of memory.
    pub out_of_memory: u32,
    /// How many of them got no capacity, or lost it too often.
    pub no_capacity: u32,
    /// How many of them belonged to a job that Batch lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// The phases that they repeat, in order: from the first in which one failed to the last.
    pub phases: Vec<PhaseAgain>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One phase of a [`ChunkAgain`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseAgain {
    /// The index of the phase.
    pub phase: u16,
    /// The size of the children, if it differs from that of the first round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl ChunkAgain {
    /// Returns the number of children that run again.
    pub fn size(&self) -> u32 {
        let sizes = self.children.iter().map(|(first, last)| last - first + 1);
        sizes.sum()
    }

    /// Returns the child of the first round whose records the child with this index processes.
    pub fn child(&self, index: u32) -> Option<u32> {
        let mut before = 0;
        for (first, last) in &self.children {
            let size = last - first + 1;
            if index < before + size {
                return Some(first + index - before);
            }
            before += size;
        }
        None
    }

    /// Returns whether this child of the first round runs again.
    pub fn contains(&self, child: u32) -> bool {
        let mut ranges = self.children.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&child))
    }
}

/// Why a second round cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecondRoundError {
    /// It is not the JSON of a second round.
    #[error("the second round cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version of the program wrote it.
    #[error(
        "the second round has version {0}, and this version of Rowmill reads version \
         {SECOND_ROUND_VERSION}: use the version that started the run"
    )]
    Version(u32),
}

impl SecondRound {
    /// Reads `runs/<id>/second-round.json`.
    ///
    /// # Errors
    /// It is not the JSON of a second round, or another version of the program wrote it.
    pub fn from_json(json: &[u8]) -> Result<SecondRound, SecondRoundError> {
        /// The version alone: the rest of another version may have another shape.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        match serde_json::from_slice(json)? {
            Version {
                version: SECOND_ROUND_VERSION,
            } => Ok(serde_json::from_slice(json)?),
            Version { version } => Err(SecondRoundError::Version(version)),
        }
    }

    /// Returns how many children belonged to a job that Batch lost.
    pub fn lost(&self) -> u32 {
        self.chunks.iter().map(|again| again.lost).sum()
    }

    /// Returns how many children ran out of memory.
    pub fn out_of_memory(&self) -> u32 {
        self.chunks.iter().map(|again| again.out_of_memory).sum()
    }

    /// Returns how many children got no capacity, or lost it too often.
    pub fn no_capacity(&self) -> u32 {
        self.chunks.iter().map(|again| again.no_capacity).sum()
    }

    /// Returns what happens to a chunk.
    pub fn chunk(&self, chunk: u32) -> Option<&ChunkAgain> {
        self.chunks.iter().find(|again| again.chunk == chunk)
    }

    /// Returns the number of jobs, which report counts in addition to those of the first round.
    pub fn jobs(&self) -> u32 {
        self.chunks
            .iter()
            .map(|again| again.phases.len() as u32)
            .sum()
    }

    /// Returns the jobs with the size of their children, those of a chunk in the order of its phases.
    /// Each depends on the one before it, so a child of a later phase waits for its records.
    pub fn graph(&self) -> Vec<(PlannedJob, Option<Resources>)> {
        let mut jobs = Vec::new();
        for again in &self.chunks {
            let array = again.size() > 1;
            let mut before: Option<JobName> = None;
            for of_phase in &again.phases {
                let name = JobName::second_round(&self.run, again.chunk, of_phase.phase);
                let after = before.replace(name.clone());
                let job = PlannedJob {
                    name,
                    chunk: again.chunk,
                    phase: of_phase.phase,
                    size: array.then(|| again.size()),
                    after: after.map(|name| (name, array.then_some(DependencyType::NToN))),
                };
                jobs.push((job, of_phase.resources));
            }
        }
        jobs
    }
}

/// Returns numbers in ascending order as ranges: the first and the last of each.
pub fn ranges(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if number == *last + 1 => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(children: &[u32], phases: &[u16]) -> ChunkAgain {
        ChunkAgain {
            chunk: 3,
            children: ranges(children.iter().copied()),
            out_of_memory: 1,
            no_capacity: 0,
            lost: 0,
            phases: phases
                .iter()
                .map(|phase| PhaseAgain {
                    phase: *phase,
                    resources: None,
                })
                .collect(),
        }
    }

    #[test]
    fn children_are_those_of_the_first_round() {
        let children = [0, 1, 2, 7, 9, 10];
        let again = again(&children, &[0]);
        assert_eq!(again.children, [(0, 2), (7, 7), (9, 10)]);
        assert_eq!(again.size(), 6);
        let found: Vec<_> = (0..6).filter_map(|index| again.child(index)).collect();
        assert_eq!(found, children);
        assert_eq!(again.child(6), None);
        for child in 0..12 {
            assert_eq!(again.contains(child), children.contains(&child));
        }
    }

    #[test]
    fn the_phases_of_a_chunk_depend_on_each_other() {
        let run: RunId = "20261121-reviews-0123456789ab".parse().unwrap();
        let round = |children: &[u32]| SecondRound {
            version: SECOND_ROUND_VERSION,
            run: run.clone(),
            chunks: vec![again(children, &[1, 2])],
            refused: None,
        };
        let graph = round(&[4, 6]).graph();
        assert_eq!(round(&[4, 6]).jobs(), 2);
        let [(first, _), (second, _)] = &graph[..] else {
            panic!("{graph:?}")
        };
        assert_eq!((first.size, &first.after), (Some(2), &None));
        let after = Some((first.name.clone(), Some(DependencyType::NToN)));
        assert_eq!(second.after, after);
        assert_eq!(JobName::parse(&second.name.0), Some((run.clone(), 3, 2)));
        // One child is a plain job.
        let graph = round(&[4]).graph();
        assert_eq!(graph[1].0.size, None);
        assert_eq!(graph[1].0.after.as_ref().unwrap().1, None);
    }
}
