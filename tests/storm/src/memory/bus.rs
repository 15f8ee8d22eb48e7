//! The topic, the scheduler, and the queue from which stages get their events.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rowmill_domain::message::RunMessage;
use rowmill_events::{scheduled_message_event, sns_messages_event};
use rowmill_local::bus::{Target, subscriber};
use rowmill_ports::{Result, Scheduler, Topic, check_schedule_name, message_text};
use serde_json::Value;

use super::{Clock, lock};

/// What happens to a new message, counted from 0: after how long each copy of it is delivered.
pub type Copies = Box<dyn Fn(u64, &Letter) -> Vec<TimeDelta> + Send + Sync>;

/// An event and the stage that it is for.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The stage.
    pub target: Target,
    /// The event.
    pub payload: Value,
}

/// A message on the queue.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number. The owner of claims is made from it.
    pub id: u64,
    /// The event and its stage.
    pub letter: Letter,
    /// How often its stage failed.
    pub failures: u32,
}

/// The queue, the topic and the scheduler.
pub struct MemoryBus {
    now: Clock,
    copies: Copies,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: u64,
    delivered: u64,
    queue: BTreeMap<(DateTime<Utc>, u64), Message>,
    schedules: BTreeMap<String, (DateTime<Utc>, RunMessage)>,
    dead: Vec<(Message, String)>,
}

impl MemoryBus {
    /// An empty queue.
    pub fn new(now: Clock, copies: Copies) -> MemoryBus {
        MemoryBus {
            now,
            copies,
            state: Mutex::default(),
        }
    }

    /// Puts an event on the queue.
    pub fn send(&self, target: Target, payload: Value) {
        let now = (self.now)();
        let letter = Letter { target, payload };
        let mut state = lock(&self.state);
        let number = state.sent;
        state.sent += 1;
        for delay in (self.copies)(number, &letter) {
            state.delivered += 1;
            let id = state.delivered;
            let letter = letter.clone();
            let message = Message {
                id,
                letter,
                failures: 0,
            };
            state.queue.insert((now + delay, id), message);
        }
    }

    /// Puts a message back for another attempt after `wait`.
    pub fn retry(&self, message: Message, wait: TimeDelta) {
        let due = (self.now)() + wait;
        let failures = message.failures + 1;
        let message = Message {
            failures,
            ..message
        };
        let queue = &mut lock(&self.state).queue;
        queue.insert((due, message.id), message);
    }

    /// Records that a stage failed too often.
    pub fn dead_letter(&self, message: Message, error: String) {
        lock(&self.state).dead.push((message, error));
    }

    /// Takes the next message that is due, after publishing the scheduled ones.
    pub fn next(&self) -> Option<Message> {
        let now = (self.now)();
        self.publish_due(now);
        let queue = &mut lock(&self.state).queue;
        let first = queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next message is due.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        let state = lock(&self.state);
        let queued = state.queue.keys().next().map(|(due, _)| *due);
        let scheduled = state.schedules.values().map(|(due, _)| *due).min();
        [queued, scheduled].into_iter().flatten().min()
    }

    fn publish_due(&self, now: DateTime<Utc>) {
        let mut due = Vec::new();
        lock(&self.state).schedules.retain(|_, (when, message)| {
            if *when <= now {
                due.push(message.clone());
            }
            *when > now
        });
        for message in due {
            let id = format!("scheduled-{}", lock(&self.state).sent);
            let payload = scheduled_message_event(&message, &id, now);
            self.send(subscriber(&message), payload);
        }
    }

    /// The number of events so far.
    pub fn sent(&self) -> u64 {
        lock(&self.state).sent
    }

    /// The messages on the queue.
    pub fn queued(&self) -> Vec<Letter> {
        let state = lock(&self.state);
        state.queue.values().map(|m| m.letter.clone()).collect()
    }

    /// The names of the schedules that wait.
    pub fn schedules(&self) -> Vec<String> {
        lock(&self.state).schedules.keys().cloned().collect()
    }

    /// The messages that failed too often, with the last error.
    pub fn dead(&self) -> Vec<(Message, String)> {
        lock(&self.state).dead.clone()
    }

    /// Forgets the messages that failed too often.
    pub fn forget_dead(&self) {
        lock(&self.state).dead.clear();
    }
}

#[async_trait]
impl Topic for MemoryBus {
    async fn publish(&self, message: &RunMessage) -> Result<()> {
        message_text(message, "Publish", "topic")?;
        let id = format!("message-{}", lock(&self.state).sent);
        let payload = sns_messages_event(message, &id, (self.now)());
        self.send(subscriber(message), payload);
        Ok(())
    }
}

#[async_trait]
impl Scheduler for MemoryBus {
    async fn at(&self, name: &str, when: DateTime<Utc>, message: &RunMessage) -> Result<()> {
        const OPERATION: &str = "CreateSchedule";
        check_schedule_name(OPERATION, name)?;
        message_text(message, OPERATION, name)?;
        let schedules = &mut lock(&self.state).schedules;
        schedules.insert(name.to_owned(), (when, message.clone()));
        Ok(())
    }

    async fn cancel(&self, name: &str) -> Result<()> {
        lock(&self.state).schedules.remove(name);
        Ok(())
    }
}
