//! Turns for requests at a rate that holds for the children of all runs together.
//!
//! A child takes turns for the requests that wait for one, and no others: none is kept in stock,
//! so that a child that has nothing to send, is slow or dies takes nothing from the others.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::pace::Pace;

/// Turns that the children of all runs share.
#[async_trait]
pub trait Turns: fmt::Debug + Send + Sync {
    /// Takes so many turns of a lane, `gap` apart; the time of the first. An error where that
    /// failed for now.
    async fn take(&self, lane: &str, turns: u32, gap: Duration) -> Result<DateTime<Utc>, String>;
}

/// Turns taken at once at the most; a child has no more records at work.
const TURNS_MAX: usize = 1000;
/// Longest wait for more requests that want a turn, so that they are taken together.
const LINGER: Duration = Duration::from_millis(500);
/// Wait after turns could not be taken, and how often that is tried: 2 minutes, in which a
/// ledger that has a fault comes back.
const AGAIN: Duration = Duration::from_secs(5);
const TRIES: u32 = 24;

/// Who waits for a turn.
type Waiting = oneshot::Sender<Result<Instant, String>>;

/// Bounds the requests to a host.
pub(crate) enum Rate {
    /// Of this child.
    Own(Pace),
    /// Of all children.
    Shared(mpsc::UnboundedSender<Waiting>),
}

impl Rate {
    /// Requests at least `gap` apart. `lane` names what all who share a rate have in common.
    pub(crate) fn new(gap: Duration, turns: Option<Arc<dyn Turns>>, lane: &str) -> Rate {
        let Some(turns) = turns else {
            return Rate::Own(Pace::new(gap));
        };
        let (want, wanted) = mpsc::unbounded_channel();
        // Ends with the sender.
        tokio::spawn(take(turns, lane.to_owned(), gap, wanted));
        Rate::Shared(want)
    }

    /// Waits for a turn; an error where none could be taken.
    pub(crate) async fn turn(&self) -> Result<(), String> {
        let want = match self {
            Rate::Own(pace) => {
                pace.turn().await;
                return Ok(());
            }
            Rate::Shared(want) => want,
        };
        let (waiting, turn) = oneshot::channel();
        let closed = || "its turn was not given".to_owned();
        want.send(waiting).map_err(|_| closed())?;
        sleep_until(turn.await.map_err(|_| closed())??).await;
        Ok(())
    }
}

/// Takes turns for those who wait.
async fn take(
    turns: Arc<dyn Turns>,
    lane: String,
    gap: Duration,
    mut wanted: mpsc::UnboundedReceiver<Waiting>,
) {
    let mut waiting: Vec<Waiting> = Vec::new();
    while wanted.recv_many(&mut waiting, TURNS_MAX).await > 0 {
        // Those whose record was given up meanwhile.
        waiting.retain(|w| !w.is_closed());
        // At most TURNS_MAX.
        let count = waiting.len() as u32;
        if count == 0 {
            continue;
        }
        match patiently(&*turns, &lane, count, gap).await {
            Ok(first) => {
                let now = Instant::now();
                let ahead = (first - Utc::now()).to_std().unwrap_or_default();
                for (n, waiting) in (0..).zip(waiting.drain(..)) {
                    let _ = waiting.send(Ok(now + ahead + gap * n));
                }
                // Turns are taken up to `first` at least: none is lost by coming later.
                sleep((ahead / 2).min(LINGER)).await;
            }
            Err(reason) => {
                for waiting in waiting.drain(..) {
                    let _ = waiting.send(Err(reason.clone()));
                }
            }
        }
    }
}

async fn patiently(
    turns: &dyn Turns,
    lane: &str,
    count: u32,
    gap: Duration,
) -> Result<DateTime<Utc>, String> {
    for _ in 1..TRIES {
        match turns.take(lane, count, gap).await {
            Ok(first) => return Ok(first),
            Err(reason) => tracing::warn!(lane, reason, "no turn could be taken; trying again"),
        }
        sleep(AGAIN).await;
    }
    turns.take(lane, count, gap).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What a ledger does, in memory; takes `slow` to answer and fails every seventh time.
    #[derive(Debug)]
    struct Table {
        slow: Duration,
        next: Mutex<(DateTime<Utc>, u32)>,
    }

    #[async_trait]
    impl Turns for Table {
        async fn take(&self, _: &str, turns: u32, gap: Duration) -> Result<DateTime<Utc>, String> {
            sleep(self.slow).await;
            let mut next = self.next.lock().unwrap();
            next.1 += 1;
            let first = next.0.max(Utc::now());
            next.0 = first + gap * turns;
            Ok(first)
        }
    }

    /// Sixteen children with four requests at once each, of a source that takes 20 ms.
    #[tokio::test]
    async fn the_sum_holds_over_children_that_come_and_go() {
        let table = Arc::new(Table {
            slow: Duration::from_millis(10),
            next: Mutex::new((Utc::now(), 0)),
        });
        let sent = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        let end = start + Duration::from_secs(4);
        let mut children = tokio::task::JoinSet::new();
        for child in 0..16 {
            let gap = Duration::from_millis(5);
            let rate = Arc::new(Rate::new(gap, Some(table.clone()), "host"));
            for _ in 0..4 {
                let (rate, sent) = (rate.clone(), sent.clone());
                children.spawn(async move {
                    // Half of them die after a second, in the middle of their work.
                    let until = if child % 2 == 0 {
                        end
                    } else {
                        start + Duration::from_secs(1)
                    };
                    while Instant::now() < until {
                        rate.turn().await.unwrap();
                        sent.lock().unwrap().push(start.elapsed());
                        sleep(Duration::from_millis(20)).await;
                    }
                });
            }
        }
        children.join_all().await;
        let sent = sent.lock().unwrap();
        // 200/s, in the seconds after the first and before the last turns.
        for second in 1..4 {
            let within = |t: &&Duration| t.as_secs() == second;
            let count = sent.iter().filter(within).count();
            assert!((150..=210).contains(&count), "{count} in second {second}");
        }
        let taken = table.next.lock().unwrap().1;
        assert!(taken < 600, "{taken} times for {} turns", sent.len());
    }

    #[tokio::test]
    async fn a_child_alone_has_the_whole_rate_also_with_one_request_at_a_time() {
        let table = Arc::new(Table {
            slow: Duration::from_millis(3),
            next: Mutex::new((Utc::now(), 0)),
        });
        // Room for a machine that is busy with other tests.
        let rate = Rate::new(Duration::from_millis(100), Some(table), "host");
        let start = Instant::now();
        for _ in 0..21 {
            rate.turn().await.unwrap();
            sleep(Duration::from_millis(5)).await;
        }
        let took = start.elapsed();
        assert!(
            (Duration::from_millis(2000)..Duration::from_millis(2300)).contains(&took),
            "{took:?}"
        );
    }
}
