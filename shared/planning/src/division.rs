//! Records divided into chunks and children.

use rowmill_domain::limits::{ARRAY_MAX, CHUNK_RECORDS};

/// The chunks of a run and their children.
///
/// ```
/// use rowmill_planning::Division;
///
/// // Two chunks of nearly the same size, and children of at most 2,000 records.
/// let division = Division::new(15_001, 2_000, None);
/// assert_eq!(division.chunks().collect::<Vec<_>>(), [(7_500, 4), (7_501, 4)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    records: u64,
    per_child: u32,
    share: u32,
}

impl Division {
    /// Divides records into chunks of nearly the same size, and each chunk into as few children as
    /// give none of them more than `per_child` records. All chunks together have at most
    /// `max_children` children if there are not more chunks.
    pub fn new(records: u64, per_child: u32, max_children: Option<u32>) -> Division {
        let chunks = records.div_ceil(u64::from(CHUNK_RECORDS)).max(1);
        // The limit protects a source, so each chunk gets an equal share of it.
        let share = max_children.map_or(ARRAY_MAX, |most| {
            u32::try_from((u64::from(most) / chunks).max(1)).unwrap_or(ARRAY_MAX)
        });
        Division {
            records,
            per_child: per_child.max(1),
            share: share.min(ARRAY_MAX),
        }
    }

    /// Returns the number of records and of children of each chunk.
    pub fn chunks(&self) -> impl Iterator<Item = (u32, u32)> + Clone + use<> {
        let Division {
            records,
            per_child,
            share,
        } = *self;
        let chunks = self.chunk_count();
        let at = move |i: u64| i * records / chunks.max(1);
        (0..chunks).map(move |i| {
            let size = (at(i + 1) - at(i)) as u32;
            (size, size.div_ceil(per_child).min(share).max(1))
        })
    }

    /// Returns the number of chunks.
    pub fn chunk_count(&self) -> u64 {
        self.records.div_ceil(u64::from(CHUNK_RECORDS))
    }

    /// Returns the number of children of one phase in all chunks.
    pub fn children(&self) -> u64 {
        self.chunks().map(|(_, children)| u64::from(children)).sum()
    }

    /// Returns the number of records of the largest child.
    pub fn most_records(&self) -> u32 {
        let slices = self
            .chunks()
            .map(|(records, children)| records.div_ceil(children));
        slices.max().unwrap_or(0)
    }

    /// Returns how often the children of one phase start `concurrency` records at the same time:
    /// the sum over all children.
    pub fn rounds(&self, concurrency: u32) -> u64 {
        let of = |(records, children): (u32, u32)| {
            let (small, larger) = (records / children, u64::from(records % children));
            let smaller = u64::from(children) - larger;
            smaller * u64::from(small.div_ceil(concurrency))
                + larger * u64::from((small + 1).div_ceil(concurrency))
        };
        self.chunks().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_balanced_and_children_are_limited() {
        // records, records per child, max_children -> chunks as (records, children)
        type Case = (u64, u32, Option<u32>, &'static [(u32, u32)]);
        let table: &[Case] = &[
            (0, 1, None, &[]),
            (1, 1, None, &[(1, 1)]),
            (2, 1, Some(100), &[(2, 2)]),
            (10_000, 1920, None, &[(10_000, 6)]),
            (10_001, 1920, None, &[(5_000, 3), (5_001, 3)]),
            (10_000, 1, None, &[(10_000, 10_000)]),
            (10_000, 1, Some(7), &[(10_000, 7)]),
            (30_000, 1, Some(2), &[(10_000, 1), (10_000, 1), (10_000, 1)]),
            (20_000, 10_000, None, &[(10_000, 1), (10_000, 1)]),
        ];
        for (records, per_child, most, chunks) in table {
            let division = Division::new(*records, *per_child, *most);
            let got: Vec<_> = division.chunks().collect();
            assert_eq!(got, *chunks, "{records} {per_child} {most:?}");
            let slices = got.iter().flat_map(|(records, children)| {
                (0..*children).map(move |i| {
                    let at = |i: u32| u64::from(i) * u64::from(*records) / u64::from(*children);
                    at(i + 1) - at(i)
                })
            });
            let rounds: u64 = slices.clone().map(|slice| slice.div_ceil(16)).sum();
            assert_eq!(division.rounds(16), rounds);
            assert_eq!(
                u64::from(division.most_records()),
                slices.max().unwrap_or(0)
            );
        }
    }
}
