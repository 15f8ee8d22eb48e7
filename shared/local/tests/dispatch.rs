//! The dispatcher delivers at least once, retries, dead-letters and resumes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rowmill_domain::RunId;
use rowmill_domain::event::{Invocation, Reported};
use rowmill_domain::message::RunMessage;
use rowmill_events::{ToCleanup, sns_messages_event, to_cleanup};
use rowmill_local::bus::{self, Chaos, Target, subscriber};
use rowmill_local::{Cloud, Dispatcher, Handler, HandlerError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// One call of the handler.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    target: Target,
    payload: Value,
    owner: String,
}

type Answer = Box<dyn Fn(&Call, usize) -> Result<Option<Value>, HandlerError> + Send + Sync>;

/// Reports every call, and answers with a function of the call and the number of earlier ones.
struct Stages {
    seen: Mutex<Vec<Call>>,
    calls: mpsc::UnboundedSender<Call>,
    answer: Answer,
}

#[async_trait]
impl Handler for Stages {
    async fn handle(
        &self,
        target: Target,
        payload: &Value,
        cx: &Invocation,
    ) -> Result<Option<Value>, HandlerError> {
        let call = Call {
            target,
            payload: payload.clone(),
            owner: cx.owner.clone(),
        };
        let before = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(call.clone());
            seen.iter().filter(|other| **other == call).count() - 1
        };
        let answer = (self.answer)(&call, before);
        self.calls.send(call).unwrap();
        answer
    }
}

struct Running {
    calls: mpsc::UnboundedReceiver<Call>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), rowmill_local::LocalError>>,
}

fn start(cloud: &Cloud, answer: Answer) -> Running {
    let (sender, calls) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let stages = Stages {
        seen: Mutex::default(),
        calls: sender,
        answer,
    };
    let dispatcher = Dispatcher::new(cloud.clone(), None);
    let task = tokio::spawn(async move { dispatcher.run(Arc::new(stages), stopped).await });
    Running { calls, stop, task }
}

impl Running {
    async fn next(&mut self) -> Call {
        let next = tokio::time::timeout(Duration::from_secs(20), self.calls.recv());
        next.await
            .expect("a call within 20 s")
            .expect("the dispatcher runs")
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.task);
        ended.await.expect("an end within 20 s").unwrap().unwrap();
    }
}

fn enqueue(cloud: &Cloud, chaos: Option<&Chaos>, target: Target, n: usize) {
    cloud
        .with(|conn| bus::enqueue(conn, chaos, target, &json!({ "n": n })))
        .unwrap();
}

/// Waits until the queue is empty.
async fn wait_until_empty(cloud: &Cloud) {
    let mut changed = cloud.changed();
    let wait = async {
        while !bus::queue(cloud).unwrap().is_empty() {
            changed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("an empty queue in 20 s");
}

fn ok() -> Answer {
    Box::new(|_, _| Ok(None))
}

fn failure(retryable: bool) -> HandlerError {
    HandlerError {
        message: "no disk".into(),
        retryable,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_reaches_its_stage() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    enqueue(&cloud, None, Target::Split, 0);
    let mut running = start(&cloud, ok());
    assert_eq!(running.next().await.target, Target::Split);
    // Also messages that arrive while the dispatcher runs.
    for n in 1..20 {
        enqueue(&cloud, None, Target::ALL[n % 4], n);
    }
    let mut seen = Vec::new();
    for _ in 1..20 {
        let call = running.next().await;
        let n = call.payload["n"].as_u64().unwrap() as usize;
        assert_eq!(call.target, Target::ALL[n % 4]);
        seen.push(n);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..20).collect::<Vec<_>>());
    wait_until_empty(&cloud).await;
    running.stop().await;
    assert_eq!(bus::dead_letters(&cloud).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_message_is_retried_with_the_same_owner_and_then_dead_lettered() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    let mut running = start(
        &cloud,
        Box::new(|call, before| match call.payload["n"].as_u64().unwrap() {
            0 if before < 2 => Err(failure(true)),
            1 => Err(failure(true)),
            2 => Err(failure(false)),
            3 if before == 0 => panic!("a stage that crashes"),
            _ => Ok(None),
        }),
    );
    for n in 0..4 {
        enqueue(&cloud, None, Target::Submit, n);
    }
    // 3 attempts of 0 and of 1, one of 2. Message 3 panics before its call is reported.
    let mut calls = Vec::new();
    for _ in 0..8 {
        calls.push(running.next().await);
    }
    wait_until_empty(&cloud).await;
    running.stop().await;
    for (n, attempts) in [(0, 3), (1, 3), (2, 1), (3, 1)] {
        let of_n: Vec<_> = calls.iter().filter(|c| c.payload["n"] == n).collect();
        assert_eq!(of_n.len(), attempts, "message {n}");
        assert!(of_n.iter().all(|c| c.owner == of_n[0].owner), "{of_n:?}");
    }
    let dead = bus::dead_letters(&cloud).unwrap();
    let dead: Vec<_> = dead
        .iter()
        .map(|d| (&d.payload, d.target, d.error.as_str()))
        .collect();
    let expected = [
        (&json!({ "n": 2 }), Target::Submit, "no disk"),
        (&json!({ "n": 1 }), Target::Submit, "no disk"),
    ];
    assert_eq!(dead, expected, "in the order of their last attempts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_dead_letter_is_the_same_delivery_with_new_attempts() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    enqueue(&cloud, None, Target::Submit, 0);
    let mut running = start(&cloud, Box::new(|_, _| Err(failure(false))));
    let failed = running.next().await;
    wait_until_empty(&cloud).await;
    running.stop().await;
    let letters = bus::dead_letters(&cloud).unwrap();
    bus::redrive(&cloud, letters[0].id).unwrap();
    assert_eq!(bus::dead_letters(&cloud).unwrap(), []);
    let succeed_third_time = |_: &Call, before| {
        if before < 2 {
            Err(failure(true))
        } else {
            Ok(None)
        }
    };
    let mut running = start(&cloud, Box::new(succeed_third_time));
    for _ in 0..3 {
        assert_eq!(running.next().await, failed);
    }
    wait_until_empty(&cloud).await;
    running.stop().await;
    assert_eq!(bus::dead_letters(&cloud).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_report_goes_to_cleanup() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    let answer = json!({ "run": "20261121-suite-0123456789ab" });
    let given = answer.clone();
    let mut running = start(
        &cloud,
        Box::new(move |call, _| {
            let first = call.target != Target::Cleanup && call.payload["n"] == 0;
            Ok(first.then(|| given.clone()))
        }),
    );
    // Report returns nothing for the second message, and the answer of submit is ignored.
    enqueue(&cloud, None, Target::Report, 1);
    enqueue(&cloud, None, Target::Submit, 0);
    enqueue(&cloud, None, Target::Report, 0);
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(running.next().await);
    }
    wait_until_empty(&cloud).await;
    running.stop().await;
    let cleanups: Vec<_> = calls
        .iter()
        .filter(|c| c.target == Target::Cleanup)
        .collect();
    let [cleanup] = &cleanups[..] else {
        panic!("one cleanup: {calls:?}")
    };
    let reported: Reported = serde_json::from_value(answer).unwrap();
    let read = to_cleanup(&cleanup.payload).unwrap();
    assert_eq!(read, [ToCleanup::Reported(reported)]);
    assert_eq!(cleanup.payload["requestPayload"], json!({ "n": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_handled_when_the_process_ends_is_delivered_again() {
    let state = TempDir::new().unwrap();
    let first = {
        let cloud = Cloud::open(state.path()).unwrap();
        enqueue(&cloud, None, Target::Split, 7);
        let (entered, mut in_handler) = mpsc::unbounded_channel();
        /// A stage that never returns.
        struct Stuck(mpsc::UnboundedSender<String>);
        #[async_trait]
        impl Handler for Stuck {
            async fn handle(
                &self,
                _: Target,
                _: &Value,
                cx: &Invocation,
            ) -> Result<Option<Value>, HandlerError> {
                self.0.send(cx.owner.clone()).unwrap();
                std::future::pending().await
            }
        }
        let (_stop, stopped) = watch::channel(false);
        let dispatcher = Dispatcher::new(cloud, None);
        let task =
            tokio::spawn(async move { dispatcher.run(Arc::new(Stuck(entered)), stopped).await });
        let owner = in_handler.recv().await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        owner
    };
    let cloud = Cloud::open(state.path()).unwrap();
    let mut running = start(&cloud, ok());
    let call = running.next().await;
    assert_eq!(
        (call.target, call.owner),
        (Target::Split, first),
        "the same delivery"
    );
    assert_eq!(call.payload, json!({ "n": 7 }));
    wait_until_empty(&cloud).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_loses_no_message() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    for n in 0..60 {
        enqueue(&cloud, Some(&Chaos { seed: 3 }), Target::Report, n);
    }
    let copies = bus::queue(&cloud).unwrap().len();
    let mut running = start(&cloud, ok());
    let mut order = Vec::new();
    let mut owners = std::collections::HashSet::new();
    for _ in 0..copies {
        let call = running.next().await;
        order.push(call.payload["n"].as_u64().unwrap() as usize);
        assert!(
            owners.insert(call.owner),
            "each copy is a separate delivery"
        );
    }
    wait_until_empty(&cloud).await;
    running.stop().await;
    assert!(!order.is_sorted(), "messages overtake each other");
    order.sort_unstable();
    order.dedup();
    assert_eq!(order, (0..60).collect::<Vec<_>>());
    assert!(copies > 60, "some messages are duplicated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_rolled_back_transaction_is_not_queued() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    cloud
        .with(|conn| {
            let transaction = conn.transaction()?;
            bus::enqueue(&transaction, None, Target::Split, &json!({}))?;
            transaction.rollback()
        })
        .unwrap();
    assert_eq!(bus::queue(&cloud).unwrap(), []);
}

/// A message that was queued before the clock was set back has a due time in the future.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_delays_no_message() {
    let state = tempfile::tempdir().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    enqueue(&cloud, None, Target::Split, 1);
    let ahead = cloud.with(|conn| conn.execute("UPDATE message SET due = due + 7200000", []));
    assert_eq!(ahead.unwrap(), 1);
    let mut running = start(&cloud, ok());
    running.next().await;
    wait_until_empty(&cloud).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_checked_only_when_no_stage_works_on_it() {
    let state = TempDir::new().unwrap();
    let cloud = Cloud::open(state.path()).unwrap();
    let run: RunId = "20261121-p-0123456789ab".parse().unwrap();
    let other: RunId = "20261121-p-00000000000a".parse().unwrap();
    let send = |message: RunMessage| {
        let event = sns_messages_event(&message, "id", chrono::Utc::now());
        let sent = cloud.with(|conn| bus::enqueue(conn, None, subscriber(&message), &event));
        sent.unwrap();
    };
    send(RunMessage::Split { run: run.clone() });
    for run in [&run, &run, &other] {
        send(RunMessage::Due { run: run.clone() });
    }
    let mut running = start(
        &cloud,
        Box::new(|call, before| match (call.target, before) {
            // It waits for another attempt.
            (Target::Submit, 0) => Err(failure(true)),
            _ => Ok(None),
        }),
    );
    let mut order = Vec::new();
    for _ in 0..5 {
        let call = running.next().await;
        order.push((call.target, call.payload.to_string().contains(run.as_str())));
    }
    let first = [(Target::Submit, true), (Target::Cleanup, false)];
    order[..2].sort_by_key(|(target, _)| target.name());
    let mut sorted = first;
    sorted.sort_by_key(|(target, _)| target.name());
    assert_eq!(order[..2], sorted, "{order:?}");
    let rest = [
        (Target::Submit, true),
        (Target::Cleanup, true),
        (Target::Cleanup, true),
    ];
    assert_eq!(order[2..], rest, "{order:?}");
    wait_until_empty(&cloud).await;
    running.stop().await;
}
