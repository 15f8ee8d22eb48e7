//! Records divided into chunks and children.

use rowmill_domain::limits::{ARRAY_MAX, CHUNK_RECORDS};

/// Up to how many chunks have nearly the same size. With more, full chunks are at most a sixteenth
/// larger than equal ones.
const BALANCED: u64 = 16;

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
    chunk_records: u32,
    per_child: u32,
    share: u32,
}

impl Division {
    /// Divides records into chunks, and each chunk into as few children as give none of them more than
    /// `per_child` records. All chunks together have at most `max_children` children if there are not
    /// more chunks.
    ///
    /// Chunks have nearly the same size. Of more than 16, all but the last two are full, which
    /// lets split cut them before it knows how many records there are.
    pub fn new(records: u64, per_child: u32, max_children: Option<u32>) -> Division {
        Division::in_chunks_of(CHUNK_RECORDS, records, per_child, max_children)
    }

    /// The same, with chunks of at most `chunk_records` records.
    pub fn in_chunks_of(
        chunk_records: u32,
        records: u64,
        per_child: u32,
        max_children: Option<u32>,
    ) -> Division {
        let chunk_records = chunk_records.clamp(1, CHUNK_RECORDS);
        let chunks = records.div_ceil(u64::from(chunk_records)).max(1);
        // The limit protects a source, so each chunk gets an equal share of it.
        let share = max_children.map_or(ARRAY_MAX, |most| {
            u32::try_from((u64::from(most) / chunks).max(1)).unwrap_or(ARRAY_MAX)
        });
        Division {
            records,
            chunk_records,
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
            ..
        } = *self;
        let chunks = self.chunk_count();
        let full = match chunks > BALANCED {
            true => chunks - 2,
            false => 0,
        };
        let in_full = full * u64::from(self.chunk_records);
        let at = move |i: u64| match i.checked_sub(full) {
            Some(rest) => in_full + rest * (records - in_full) / (chunks - full).max(1),
            None => i * in_full / full.max(1),
        };
        (0..chunks).map(move |i| {
            let size = (at(i + 1) - at(i)) as u32;
            (size, size.div_ceil(per_child).min(share).max(1))
        })
    }

    /// Returns the number of chunks.
    pub fn chunk_count(&self) -> u64 {
        self.records.div_ceil(u64::from(self.chunk_records))
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
            (
                45_001,
                10_000,
                None,
                &[(9_000, 1), (9_000, 1), (9_000, 1), (9_000, 1), (9_001, 1)],
            ),
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

    #[test]
    fn many_chunks_are_full_except_the_last_two() {
        for records in [160_001_u64, 169_999, 200_001, 1_000_000, 1_048_575] {
            let division = Division::new(records, 1_000, None);
            let sizes: Vec<u32> = division.chunks().map(|(size, _)| size).collect();
            assert_eq!(
                sizes.iter().map(|size| u64::from(*size)).sum::<u64>(),
                records
            );
            assert_eq!(sizes.len() as u64, division.chunk_count());
            let (full, last) = sizes.split_at(sizes.len() - 2);
            assert!(
                full.iter().all(|size| *size == 10_000),
                "{records}: {full:?}"
            );
            assert!(
                last[0].abs_diff(last[1]) <= 1 && last[0] >= 5_000,
                "{records}: {last:?}"
            );
        }
        let equal: Vec<u32> = Division::new(150_001, 1, None)
            .chunks()
            .map(|(n, _)| n)
            .collect();
        assert!(
            equal.iter().all(|size| (9_375..=9_376).contains(size)),
            "{equal:?}"
        );
    }
}
