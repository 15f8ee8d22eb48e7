//! The order of all calls, and what happens to each.
//!
//! Each call waits for its turn before it takes effect, and again before its response arrives. One
//! turn is given at a time, in the order of virtual time, once nothing else can happen. When a turn
//! comes depends only on the seed, the process and the call, so the same seed gives the same order,
//! although some work is done on other threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rowmill_ports::faulty::{Call, Fault, FaultPlan, Moment};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::process::Process;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disaster {
    /// It fails, or takes effect twice.
    Fault(Fault),
    /// Its process dies before or after the call takes effect.
    Death(Moment),
    /// It takes long.
    Delay(Duration),
}

/// Which calls meet a disaster.
#[derive(Clone, Copy, Debug)]
pub enum Weather {
    /// None.
    Calm,
    /// The call with this number, counted from 0.
    Nth(u64, Disaster),
    /// Every such call of such a process, which dies before it takes effect.
    Deadly {
        /// The start of the name of the process.
        process: &'static str,
        /// The operation.
        operation: &'static str,
        /// How long it is so.
        lasts: Duration,
    },
    /// One call in `one_in`, for `lasts`. The seed decides which, and what happens.
    Storm {
        /// The seed.
        seed: u64,
        /// How rare disasters are.
        one_in: u64,
        /// How long the storm lasts.
        lasts: Duration,
    },
}

impl Weather {
    fn disaster(
        self,
        (call, process): (&Call, &Process),
        number: u64,
        key: u64,
        age: Duration,
    ) -> Option<Disaster> {
        let (seed, one_in, lasts) = match self {
            Weather::Calm => return None,
            Weather::Nth(nth, disaster) => return (number == nth).then_some(disaster),
            Weather::Deadly {
                process: name,
                operation,
                lasts,
            } => {
                let is_one = process.name().starts_with(name) && call.operation == operation;
                let dies = is_one && age <= lasts;
                return dies.then_some(Disaster::Death(Moment::Before));
            }
            Weather::Storm {
                seed,
                one_in,
                lasts,
            } => (seed, one_in, lasts),
        };
        let dice = mix(seed ^ mix(key ^ 0xD15A));
        if age > lasts || !dice.is_multiple_of(one_in) {
            return None;
        }
        let lost = |moment| Disaster::Fault(Fault::Lost(moment));
        Some(match mix(dice) % 14 {
            0..2 => lost(Moment::Before),
            2..4 => lost(Moment::After),
            4..6 => Disaster::Fault(Fault::Throttled),
            6..8 => Disaster::Fault(Fault::Twice),
            8..10 => Disaster::Death(Moment::Before),
            10..12 => Disaster::Death(Moment::After),
            12 => Disaster::Delay(Duration::from_secs(mix(dice ^ 1) % 30)),
            _ => Disaster::Delay(Duration::from_secs(mix(dice ^ 1) % 1500)),
        })
    }
}

/// A disaster that happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// The number of the call.
    pub call: u64,
    /// The process that made it.
    pub process: String,
    /// The operation.
    pub operation: &'static str,
    /// The resource.
    pub resource: String,
    /// What happened.
    pub disaster: Disaster,
}

/// The network between all processes and all services.
pub struct Network {
    weather: Weather,
    seed: u64,
    /// The longest request or response, in milliseconds.
    latency: u64,
    begun: Instant,
    state: Mutex<State>,
    arrived: Notify,
    /// Notified after every call that took effect.
    pub changed: Notify,
}

#[derive(Default)]
struct State {
    /// The calls that wait, by the millisecond and then by their keys.
    waiting: BTreeMap<(u64, u64, u64), oneshot::Sender<()>>,
    arrivals: u64,
    calls: u64,
    trace: u64,
    happened: Vec<Happened>,
    /// When each job was submitted.
    submitted: Vec<Instant>,
    log: bool,
}

impl Network {
    /// A network, whose delays are from the seed.
    pub fn new(seed: u64, weather: Weather, latency: u64) -> Arc<Network> {
        Arc::new(Network {
            weather,
            seed,
            latency,
            begun: Instant::now(),
            state: Mutex::default(),
            arrived: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// From now on, prints a line for each call.
    pub fn print_log(&self) {
        self.state().log = true;
    }

    /// How long the network exists.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The number of calls so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// When each job was submitted so far.
    pub fn submitted(&self) -> Vec<Instant> {
        self.state().submitted.clone()
    }

    /// A hash of all calls so far in their order.
    pub fn trace(&self) -> u64 {
        self.state().trace
    }

    /// The number of disasters so far.
    pub fn disasters(&self) -> usize {
        self.state().happened.len()
    }

    /// The disasters so far.
    pub fn happened(&self) -> Vec<Happened> {
        self.state().happened.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// Gives turns, forever.
    pub async fn run(&self) {
        loop {
            let first = self.state().waiting.keys().next().copied();
            let Some(first) = first else {
                self.arrived.notified().await;
                continue;
            };
            if first.0 > self.millis() {
                let due = self.begun + Duration::from_millis(first.0);
                tokio::select! {
                    biased;
                    () = self.arrived.notified() => {}
                    () = sleep_until(due) => {}
                }
                continue;
            }
            let next = self.state().waiting.remove(&first);
            // Fails if the caller is gone.
            let _ = next.map(|next| next.send(()));
            // Virtual time passes only when nothing else can happen.
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for a turn, at least `delay` from now.
    async fn turn(&self, delay: Duration, key: u64) {
        let (send, receive) = oneshot::channel();
        {
            let due = self.millis() + delay.as_millis() as u64;
            let mut state = self.state();
            state.arrivals += 1;
            let arrival = state.arrivals;
            state.waiting.insert((due, key, arrival), send);
        }
        self.arrived.notify_one();
        // Fails only if the network is gone.
        let _ = receive.await;
    }

    /// The time of a request or a response.
    fn latency(&self, key: u64) -> Duration {
        Duration::from_millis(key % self.latency + 1)
    }

    /// A number that depends only on the seed, the process, the call and how often it was made.
    fn key(&self, call: &Call, process: &Process, repetition: u64) -> u64 {
        let mut hash = mix(self.seed ^ mix(repetition));
        for part in [process.name(), call.operation, &call.resource] {
            hash = mix(hash ^ hash_of(part));
        }
        hash
    }
}

#[async_trait]
impl FaultPlan for Network {
    async fn before(&self, call: &Call) -> Option<Fault> {
        let process = Process::current()?;
        let repetition = process.repetition(call);
        let key = self.key(call, &process, repetition);
        self.turn(self.latency(key), key).await;
        let (number, disaster) = {
            let age = self.begun.elapsed();
            let mut state = self.state();
            let number = state.calls;
            state.calls += 1;
            if call.operation == "SubmitJob" {
                state.submitted.push(Instant::now());
            }
            state.trace = mix(state.trace ^ key);
            let disaster = self.weather.disaster((call, &process), number, key, age);
            if state.log {
                let (who, what, which) = (process.name(), call.operation, &call.resource);
                let disaster = disaster.map(|d| format!(": {d:?}")).unwrap_or_default();
                println!(
                    "{number} {:.3} s: {who}: {what} {which}{disaster}",
                    age.as_secs_f64()
                );
            }
            (number, disaster)
        };
        let disaster = disaster?;
        self.state().happened.push(Happened {
            call: number,
            process: process.name().to_owned(),
            operation: call.operation,
            resource: call.resource.clone(),
            disaster,
        });
        match disaster {
            Disaster::Fault(fault) => return Some(fault),
            Disaster::Death(Moment::Before) => process.die().await,
            Disaster::Death(Moment::After) => process.dies_after(call),
            Disaster::Delay(delay) => self.turn(delay, key).await,
        }
        None
    }

    async fn after(&self, call: &Call) -> Option<Fault> {
        self.changed.notify_one();
        let process = Process::current()?;
        let key = mix(self.key(call, &process, 0) ^ self.millis());
        if process.is_last(call) {
            process.die().await;
        }
        self.turn(self.latency(key), key).await;
        None
    }
}

/// SplitMix64's finalizer: every bit of the result depends on every bit of `x`.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A hash of a text that is the same in every process.
pub fn hash_of(text: &str) -> u64 {
    text.bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}
