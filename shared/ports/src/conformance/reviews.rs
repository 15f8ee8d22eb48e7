//! The guarantees of [`Reviews`].

use rowmill_domain::RunId;
use rowmill_domain::review::{Feedback, FilterVerdict, ReviewEvent, RowEvents, Verdict};

use super::{at, id};
use crate::reviews::{FILTER_BYTES, REVIEWS_AT_ONCE};
use crate::{ErrorKind, Reviews};

/// Checks an adapter. It must hold no reviews at the start, and holds only some feedback at the end.
///
/// # Panics
/// If a guarantee of [`Reviews`] does not hold.
pub async fn reviews(reviews: &dyn Reviews) {
    let (run, other) = (id("reviews"), id("other reviews"));
    rows(reviews, &run).await;
    filters(reviews, &run).await;
    feedback(reviews).await;

    reviews.add_review(&other, 2, 0, &event(0)).await.unwrap();
    for _ in 0..2 {
        reviews.delete_reviews(&run).await.unwrap();
    }
    assert_eq!(all(reviews, &run).await, []);
    assert_eq!(reviews.filters(&run).await.unwrap(), []);
    assert_eq!(all(reviews, &other).await.len(), 1, "of another run");
    reviews.delete_reviews(&other).await.unwrap();
}

async fn feedback(reviews: &dyn Reviews) {
    let pipeline = "topics".parse().unwrap();
    let other = "other".parse().unwrap();
    assert_eq!(reviews.list_feedback(&pipeline, None).await.unwrap().0, []);
    let said = |n: u128, value: &str| Feedback {
        id: format!("{:032x}", n << 100),
        text: format!("Text {n} ü"),
        prediction: "billing".into(),
        value: value.into(),
        reviewer: "ada@example.com".into(),
        time: at(0),
    };
    for n in [3, 1, 2, 1] {
        let feedback = said(n, "praise");
        reviews.put_feedback(&pipeline, &feedback).await.unwrap();
    }
    // A later one replaces the one before.
    let last = said(2, "billing");
    reviews.put_feedback(&pipeline, &last).await.unwrap();
    reviews.put_feedback(&other, &said(9, "x")).await.unwrap();
    let all = [said(1, "praise"), last, said(3, "praise")];
    let (page, next) = reviews.list_feedback(&pipeline, None).await.unwrap();
    assert_eq!((&page[..], next), (&all[..], None));
    let after = Some(all[0].id.as_str());
    let (page, _) = reviews.list_feedback(&pipeline, after).await.unwrap();
    assert_eq!(page, all[1..]);
    assert_eq!(all[1].verdict(), "approved");
    let mut bad = said(1, "x");
    bad.id = "../x".into();
    let refused = reviews.put_feedback(&pipeline, &bad).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
}

fn event(n: i64) -> ReviewEvent {
    ReviewEvent {
        verdict: [Verdict::Approve, Verdict::Override, Verdict::Undo][n as usize % 3],
        value: (n != 2).then(|| format!("value {n} ü")),
        reviewer: "ada@example.com".into(),
        time: at(n),
        key: (n == 1).then(|| "key".into()),
    }
}

async fn all(reviews: &dyn Reviews, run: &RunId) -> Vec<RowEvents> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let (page, next) = reviews.list_reviews(run, after).await.unwrap();
        all.extend(page);
        match next {
            Some(next) => after = next,
            None => return all,
        }
    }
}

async fn rows(reviews: &dyn Reviews, run: &RunId) {
    assert_eq!(reviews.find_reviews(run, &[2, 3]).await.unwrap(), []);
    let add = async |row, version, n| {
        let event = event(n);
        reviews.add_review(run, row, version, &event).await.unwrap()
    };
    assert!(add(17, 0, 0).await);
    assert!(!add(17, 0, 1).await, "another was first");
    assert!(!add(17, 2, 1).await, "a version that does not exist yet");
    assert!(add(17, 1, 1).await);
    assert!(add(17, 2, 2).await);
    let history = RowEvents {
        row: 17,
        events: vec![event(0), event(1), event(2)],
    };
    let found = reviews.find_reviews(run, &[17, 18]).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&history));

    let many: Vec<u32> = (100..300).rev().step_by(2).collect();
    assert_eq!(many.len(), REVIEWS_AT_ONCE);
    for row in &many {
        assert!(add(*row, 0, 0).await);
    }
    let mut rows: Vec<u32> = many.clone();
    rows.sort_unstable();
    let of = |found: Vec<RowEvents>| found.into_iter().map(|f| f.row).collect::<Vec<_>>();
    let found = reviews.find_reviews(run, &many).await.unwrap();
    assert_eq!(of(found), rows, "in the order of rows");
    rows.insert(0, 17);
    let found = all(reviews, run).await;
    assert_eq!(found[0], history);
    assert_eq!(of(found), rows);
    let (after, _) = reviews.list_reviews(run, 290).await.unwrap();
    assert_eq!(of(after), [291, 293, 295, 297, 299]);
}

async fn filters(reviews: &dyn Reviews, run: &RunId) {
    let filter = |n: i64| FilterVerdict {
        id: format!("filter-{n}"),
        verdict: Verdict::Override,
        value: Some("praise".into()),
        reviewer: "bob".into(),
        time: at(n),
        count: 3,
        rows: vec![0, 255, n as u8],
        undone: None,
    };
    for n in [2, 1, 3] {
        assert!(reviews.put_filter(run, &filter(n)).await.unwrap());
    }
    let again = FilterVerdict {
        count: 9,
        ..filter(2)
    };
    assert!(!reviews.put_filter(run, &again).await.unwrap());
    let mut expected: Vec<FilterVerdict> = (1..4).map(filter).collect();
    assert_eq!(reviews.filters(run).await.unwrap(), expected);

    assert!(reviews.undo_filter(run, "filter-2", at(9)).await.unwrap());
    assert!(!reviews.undo_filter(run, "filter-2", at(10)).await.unwrap());
    assert!(!reviews.undo_filter(run, "filter-7", at(9)).await.unwrap());
    expected[1].undone = Some(at(9));
    assert_eq!(reviews.filters(run).await.unwrap(), expected);

    let large = FilterVerdict {
        rows: vec![1; FILTER_BYTES + 1],
        ..filter(4)
    };
    let refused = reviews.put_filter(run, &large).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    let largest = FilterVerdict {
        rows: vec![1; FILTER_BYTES],
        ..filter(5)
    };
    assert!(reviews.put_filter(run, &largest).await.unwrap());
    let found = all(reviews, run).await;
    assert!(found.iter().all(|row| row.row > 0), "no filter among them");
}
