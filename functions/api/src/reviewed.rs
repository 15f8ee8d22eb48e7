//! The reviews of a run.

use std::collections::HashMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use rowmill_domain::RunId;
use rowmill_domain::review::{FilterVerdict, Review, ReviewEvent, Verdict, review};
use rowmill_ports::Reviews;
use rowmill_ports::reviews::REVIEWS_AT_ONCE;

use crate::indexed::Indexed;
use crate::problem::Problem;

/// The histories of rows, and the verdicts on filters.
pub(crate) struct Reviewed {
    events: HashMap<u32, Vec<ReviewEvent>>,
    filters: Vec<(FilterVerdict, Positions)>,
}

impl Reviewed {
    /// Everything about a run.
    pub(crate) async fn all(reviews: &dyn Reviews, run: &RunId) -> Result<Reviewed, Problem> {
        let mut found = Reviewed::filters(reviews, run).await?;
        let mut after = Some(0);
        while let Some(from) = after {
            let (page, next) = reviews.list_reviews(run, from).await?;
            found
                .events
                .extend(page.into_iter().map(|r| (r.row, r.events)));
            after = next;
        }
        Ok(found)
    }

    /// What concerns these rows.
    pub(crate) async fn of(
        reviews: &dyn Reviews,
        run: &RunId,
        rows: &[u32],
    ) -> Result<Reviewed, Problem> {
        let mut found = Reviewed::filters(reviews, run).await?;
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows.dedup();
        for rows in rows.chunks(REVIEWS_AT_ONCE) {
            let page = reviews.find_reviews(run, rows).await?;
            found
                .events
                .extend(page.into_iter().map(|r| (r.row, r.events)));
        }
        Ok(found)
    }

    async fn filters(reviews: &dyn Reviews, run: &RunId) -> Result<Reviewed, Problem> {
        let filters = reviews.filters(run).await?;
        let filters = filters.into_iter().map(|filter| {
            let rows = Positions::read(&filter.rows)?;
            Ok((filter, rows))
        });
        Ok(Reviewed {
            events: HashMap::new(),
            filters: filters.collect::<Result<_, Problem>>()?,
        })
    }

    /// The events of a row.
    pub(crate) fn events(&self, row: u32) -> &[ReviewEvent] {
        self.events.get(&row).map_or(&[], Vec::as_slice)
    }

    /// Adds an event that was stored.
    pub(crate) fn add(&mut self, row: u32, event: ReviewEvent) {
        self.events.entry(row).or_default().push(event);
    }

    /// The number of verdicts on filters.
    pub(crate) fn filter_count(&self) -> usize {
        self.filters.len()
    }

    /// Only the verdict on the row at a position: `open`, `approved` or `overridden`.
    pub(crate) fn verdict(&self, index: &Indexed, position: usize) -> &'static str {
        if !self.events(index.rows[position].row).is_empty() {
            let (review, _) = self.at(index, position);
            return review.map_or("open", |review| review.verdict);
        }
        // Without events of its own, the last filter counts that was not undone.
        let mut filters = self.filters.iter().rev();
        let last = filters.find(|(f, rows)| f.undone.is_none() && rows.contains(position));
        match last.map(|(filter, _)| filter.verdict) {
            None => "open",
            Some(Verdict::Override) => "overridden",
            Some(Verdict::Approve | Verdict::Undo) => "approved",
        }
    }

    /// The review of the row at a position, and its version.
    pub(crate) fn at(&self, index: &Indexed, position: usize) -> (Option<Review>, u32) {
        let events = self.events(index.rows[position].row);
        let matching = self
            .filters
            .iter()
            .filter(|(_, rows)| rows.contains(position));
        let mut matching = matching.map(|(filter, _)| filter).peekable();
        // Most rows have neither.
        if events.is_empty() && matching.peek().is_none() {
            return (None, 0);
        }
        let prediction = index.prediction(position).unwrap_or_default();
        review(prediction, events, matching)
    }
}

/// A set of positions, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Positions(Vec<u8>);

/// The most bytes of a set: more rows than any sheet or csv file has here.
const POSITIONS_BYTES: u64 = 16 * 1024 * 1024;

impl Positions {
    /// Adds a position.
    pub(crate) fn add(&mut self, position: usize) {
        let byte = position / 8;
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= 1 << (position % 8);
    }

    fn contains(&self, position: usize) -> bool {
        let byte = self.0.get(position / 8);
        byte.is_some_and(|byte| byte & (1 << (position % 8)) != 0)
    }

    /// The set in few bytes.
    pub(crate) fn write(&self) -> std::io::Result<Vec<u8>> {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(&self.0)?;
        deflate.finish()
    }

    fn read(bytes: &[u8]) -> std::io::Result<Positions> {
        let mut set = Vec::new();
        DeflateDecoder::new(bytes)
            .take(POSITIONS_BYTES)
            .read_to_end(&mut set)?;
        Ok(Positions(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_positions_reads_back() {
        let mut set = Positions::default();
        for position in [0, 7, 8, 1000, 999_999] {
            set.add(position);
        }
        let read = Positions::read(&set.write().unwrap()).unwrap();
        assert_eq!(read, set);
        assert!(read.contains(7) && read.contains(999_999));
        assert!(!read.contains(6) && !read.contains(2_000_000));
        // A million rows with alternating bits fit into an item.
        let mut all = Positions::default();
        (0..1_000_000)
            .step_by(2)
            .for_each(|position| all.add(position));
        assert!(all.write().unwrap().len() < rowmill_ports::reviews::FILTER_BYTES);
    }
}
