//! The service that the runs send requests to. It counts them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rowmill_domain::RunId;
use rowmill_steps::{Limit, Translation, TranslationError, Translator};
use tokio::time::sleep;

use crate::memory::MemoryOutcomes;
use crate::network::hash_of;
use crate::upload::row_of;

/// Answers each text after up to a second. Texts with "refused" are refused.
#[derive(Default)]
pub struct Source(Mutex<State>);

#[derive(Default)]
struct State {
    requests: BTreeMap<String, u32>,
    /// The runs by the names of their uploads, and their outcomes.
    runs: BTreeMap<String, (RunId, Arc<MemoryOutcomes>)>,
    finished_again: Vec<String>,
}

impl Source {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of requests for each text.
    pub fn requests(&self) -> BTreeMap<String, u32> {
        self.state().requests.clone()
    }

    /// From now on, notices requests for records of this upload that have an outcome.
    pub fn expect(&self, upload: &str, run: RunId, outcomes: Arc<MemoryOutcomes>) {
        let runs = &mut self.state().runs;
        runs.insert(upload.to_owned(), (run, outcomes));
    }

    /// The texts that were requested although their record had an outcome.
    pub fn finished_again(&self) -> Vec<String> {
        self.state().finished_again.clone()
    }

    /// Forgets all requests.
    pub fn forget(&self) {
        *self.state() = State::default();
    }
}

#[async_trait]
impl Translator for Source {
    async fn limit(&self) -> Limit {
        Limit::Chars(10_000)
    }

    async fn translate(
        &self,
        text: &str,
        _from: Option<&str>,
        _to: &str,
    ) -> Result<Translation, TranslationError> {
        {
            let state = &mut *self.state();
            *state.requests.entry(text.to_owned()).or_default() += 1;
            let about = row_of(text).and_then(|(row, name)| Some((row, state.runs.get(name)?)));
            if about.is_some_and(|(row, (run, outcomes))| outcomes.has(run, row, 0)) {
                state.finished_again.push(text.to_owned());
            }
        }
        sleep(Duration::from_millis(hash_of(text) % 1000)).await;
        match text.contains("refused") {
            true => Err(TranslationError {
                reason: "the source refused the text".to_owned(),
                attempts: 1,
            }),
            false => Ok(Translation {
                text: text.chars().rev().collect(),
                attempts: 1,
            }),
        }
    }
}
