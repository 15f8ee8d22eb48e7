//! Reviews: what people decided about the predictions of a run.
//!
//! A row has a list of events that only grows: approvals, overrides and undos. A [`FilterVerdict`] is one
//! verdict on many rows. [`review`] replays both in the order of their times.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The most events of a row. Source: an item of DynamoDB has at most 400 KB; an event has less than
/// 2 KB.
pub const EVENTS_MAX: usize = 100;

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The prediction is right.
    Approve,
    /// Another value is right.
    Override,
    /// The last verdict does not count.
    Undo,
}

/// An event in the history of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewEvent {
    /// What was decided.
    pub verdict: Verdict,
    /// The final value. `None` for an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Who decided.
    pub reviewer: String,
    /// When.
    pub time: DateTime<Utc>,
    /// The idempotency key of the request, so that its repetition is recognized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The history of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowEvents {
    /// The row number in the input.
    pub row: u32,
    /// The events, oldest first. Their number is the version of the row.
    pub events: Vec<ReviewEvent>,
}

/// One verdict on all rows that a filter matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterVerdict {
    /// The id.
    pub id: String,
    /// [`Verdict::Approve`] or [`Verdict::Override`].
    pub verdict: Verdict,
    /// The final value of an override. An approval takes the prediction of each row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Who decided.
    pub reviewer: String,
    /// When the rows were chosen. Verdicts that were given later count more.
    pub time: DateTime<Utc>,
    /// The number of rows.
    pub count: u64,
    /// The rows, compressed by the caller.
    #[serde(skip)]
    pub rows: Vec<u8>,
    /// When it was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<DateTime<Utc>>,
}

/// What a person said about the label that a model predicted for a text, outside of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// The id: the same for the same person and the same text, so that a later feedback replaces the one
    /// before. 32 hex digits.
    pub id: String,
    /// The text.
    pub text: String,
    /// The predicted label.
    pub prediction: String,
    /// The right label.
    #[serde(rename = "final")]
    pub value: String,
    /// Who said so.
    pub reviewer: String,
    /// When.
    pub time: DateTime<Utc>,
}

impl Feedback {
    /// `approved` or `overridden`.
    pub fn verdict(&self) -> &'static str {
        match self.value == self.prediction {
            true => "approved",
            false => "overridden",
        }
    }
}

/// The review of a row, if a verdict counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Review {
    /// `approved` or `overridden`.
    pub verdict: &'static str,
    /// The final value.
    #[serde(rename = "final")]
    pub value: String,
    /// Who decided.
    pub reviewer: String,
    /// When.
    pub time: DateTime<Utc>,
}

/// The review of a row and the version of its history, given its prediction, its events and the verdicts
/// on filters that match it.
pub fn review<'a>(
    prediction: &str,
    events: &[ReviewEvent],
    filters: impl IntoIterator<Item = &'a FilterVerdict>,
) -> (Option<Review>, u32) {
    enum Step<'a> {
        Event(&'a ReviewEvent),
        Filter(&'a FilterVerdict),
        UndoFilter(&'a FilterVerdict),
    }
    let mut steps: Vec<(DateTime<Utc>, Step<'_>)> = events
        .iter()
        .map(|event| (event.time, Step::Event(event)))
        .collect();
    for filter in filters {
        steps.push((filter.time, Step::Filter(filter)));
        if let Some(undone) = filter.undone {
            steps.push((undone, Step::UndoFilter(filter)));
        }
    }
    let version = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    // Stable: events of the same time keep their order.
    steps.sort_by_key(|(time, _)| *time);
    // The verdicts that count, the last one most. Those of a filter have its id.
    let mut stack: Vec<(Option<&str>, Review)> = Vec::new();
    for (time, step) in steps {
        let (id, verdict, value, reviewer) = match step {
            Step::Event(event) if event.verdict == Verdict::Undo => {
                stack.pop();
                continue;
            }
            Step::Event(e) => (None, e.verdict, e.value.as_deref(), &e.reviewer),
            Step::Filter(f) => (Some(&*f.id), f.verdict, f.value.as_deref(), &f.reviewer),
            Step::UndoFilter(filter) => {
                stack.retain(|(id, _)| *id != Some(&filter.id));
                continue;
            }
        };
        let review = Review {
            verdict: match verdict {
                Verdict::Override => "overridden",
                Verdict::Approve | Verdict::Undo => "approved",
            },
            value: value.unwrap_or(prediction).to_owned(),
            reviewer: reviewer.clone(),
            time,
        };
        stack.push((id, review));
    }
    (stack.pop().map(|(_, review)| review), version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn event(seconds: i64, verdict: Verdict, value: Option<&str>) -> ReviewEvent {
        ReviewEvent {
            verdict,
            value: value.map(str::to_owned),
            reviewer: "ada".into(),
            time: at(seconds),
            key: None,
        }
    }

    fn filter(id: &str, seconds: i64, undone: Option<i64>) -> FilterVerdict {
        FilterVerdict {
            id: id.into(),
            verdict: Verdict::Approve,
            value: None,
            reviewer: "bob".into(),
            time: at(seconds),
            count: 1,
            rows: Vec::new(),
            undone: undone.map(at),
        }
    }

    #[test]
    fn verdicts_are_replayed_in_the_order_of_their_times() {
        let value = |events: &[ReviewEvent], filters: &[FilterVerdict]| {
            let (review, version) = review("billing", events, filters);
            (review.map(|r| (r.verdict, r.value)), version)
        };
        let approved = || Some(("approved", "billing".to_owned()));
        let overridden = || Some(("overridden", "praise".to_owned()));
        let (approve, change) = (
            event(10, Verdict::Approve, Some("billing")),
            event(20, Verdict::Override, Some("praise")),
        );
        let undo = event(30, Verdict::Undo, None);
        assert_eq!(value(&[], &[]), (None, 0));
        assert_eq!(value(std::slice::from_ref(&approve), &[]), (approved(), 1));
        assert_eq!(
            value(&[approve.clone(), change.clone()], &[]),
            (overridden(), 2)
        );
        // An undo brings back the verdict before.
        let all = [approve, change.clone(), undo.clone()];
        assert_eq!(value(&all, &[]), (approved(), 3));
        // A verdict on a filter, before and after one on the row.
        assert_eq!(value(&[], &[filter("f", 5, None)]), (approved(), 1));
        let one = std::slice::from_ref(&change);
        assert_eq!(value(one, &[filter("f", 5, None)]), (overridden(), 2));
        assert_eq!(value(one, &[filter("f", 25, None)]), (approved(), 2));
        // Undone: the row is as if the filter had not been, and the version still grows.
        assert_eq!(value(one, &[filter("f", 25, Some(40))]), (overridden(), 3));
        assert_eq!(value(&[], &[filter("f", 5, Some(6))]), (None, 2));
        let undone = [change, undo];
        assert_eq!(value(&undone, &[filter("f", 5, Some(25))]), (None, 4));
    }
}
