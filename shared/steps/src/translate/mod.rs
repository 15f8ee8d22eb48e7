//! `translate`: a text into another language, by a service.
//!
//! What any service needs is here: the same text is asked for once in a run, a long one is cut, and
//! what needs no translation is not sent. A service is a [`Translator`]: Amazon Translate
//! behind the SDK, and [`libre`], any server that speaks LibreTranslate's protocol.

mod libre;
mod split;

use std::sync::Arc;

use async_trait::async_trait;
use rowmill_domain::{Row, Value};
use rowmill_pipeline::{TranslateService, TranslateStep};

use self::libre::LibreTranslate;
use crate::answers::once;
use crate::cache::Cache;
use crate::{Answers, Runner, Setup, SetupError, StepResult};

/// A service that translates.
#[async_trait]
pub trait Translator: Send + Sync {
    /// How long a text it takes at a time.
    async fn limit(&self) -> Limit;

    /// Translates a text within the limit, trying again what may pass. Languages are codes as
    /// `en`; without `from` the service tells the text's language.
    async fn translate(
        &self,
        text: &str,
        from: Option<&str>,
        to: &str,
    ) -> Result<Translation, Untranslated>;
}

/// Most that a service takes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of UTF-8.
    Bytes(usize),
    /// Unicode characters.
    Chars(usize),
}

impl Limit {
    fn takes(self, text: &str) -> bool {
        match self {
            Limit::Bytes(most) => text.len() <= most,
            Limit::Chars(most) => text.chars().count() <= most,
        }
    }
}

/// A translated text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The text.
    pub text: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// Why a text was not translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untranslated {
    /// For the row's `error`.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
}

pub(crate) struct Translate {
    column: String,
    from: Option<String>,
    to: String,
    translated: Arc<str>,
    service: Arc<dyn Translator>,
    /// Tells the service from others.
    service_name: String,
    /// The texts that this child knows.
    kept: Cache<String>,
    /// Those that any child of the run does.
    shared: Option<Arc<dyn Answers>>,
}

impl Translate {
    pub(crate) fn new(step: &TranslateStep, setup: &Setup) -> Result<Translate, SetupError> {
        let (service, service_name): (Arc<dyn Translator>, _) = match &step.service {
            TranslateService::Amazon => (
                setup.amazon.clone().ok_or(SetupError::NoAmazon)?,
                "amazon".to_owned(),
            ),
            TranslateService::Server(server) => (
                Arc::new(LibreTranslate::new(server, setup)?),
                server.url.clone(),
            ),
        };
        Ok(Translate {
            column: step.column.clone(),
            from: step.from.clone(),
            to: step.to.clone(),
            translated: step.translated.as_str().into(),
            service,
            service_name,
            kept: Cache::default(),
            shared: setup.answers.clone(),
        })
    }

    /// Has a text translated, by whichever child of the run comes first.
    async fn once(&self, text: &str, from: Option<&str>) -> Result<Translation, Untranslated> {
        let find = self.whole(text, from);
        let Some(shared) = &self.shared else {
            return find.await;
        };
        let (service, to) = (&self.service_name, &self.to);
        let question = format!("{service}\n{to}\n{}\n{text}", from.unwrap_or(""));
        let read = |answer: &str| {
            let text = answer.to_owned();
            Some(Ok(Translation { text, attempts: 1 }))
        };
        // A child that failed lets another one try.
        let tell = |found: &Result<Translation, _>| found.as_ref().ok().map(|t| t.text.clone());
        once(&**shared, &question, read, find, tell).await
    }

    /// Translates a text of any length, part by part.
    async fn whole(&self, text: &str, from: Option<&str>) -> Result<Translation, Untranslated> {
        let parts = split::parts(text, self.service.limit().await);
        let mut whole = Translation {
            text: String::with_capacity(text.len()),
            attempts: 1,
        };
        for (done, part) in parts.iter().enumerate() {
            // Services trim; what stands between the parts is ours to keep.
            let core = part.trim();
            let (before, after) = part.split_at(part.len() - part.trim_start().len());
            whole.text += before;
            if has_letters(core) {
                let translated = self.service.translate(core, from, &self.to).await;
                let translated = translated.map_err(|e| Untranslated {
                    reason: match parts.len() {
                        1 => e.reason,
                        n => format!("part {} of {n}: {}", done + 1, e.reason),
                    },
                    ..e
                })?;
                whole.text += &translated.text;
                whole.attempts = whole.attempts.max(translated.attempts);
            } else {
                whole.text += core;
            }
            whole.text += &after[core.len()..];
        }
        Ok(whole)
    }

    fn result(&self, text: &str, attempts: u32) -> StepResult {
        StepResult::ok(vec![(self.translated.clone(), text.into())], attempts)
    }
}

/// Whether there is anything to translate: numbers and symbols are the same everywhere.
fn has_letters(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

/// Whether a text in the language `from` is one in `to`. Where a variety is wanted, as `pt-BR`, only
/// that one is; where just a language is, all of its varieties are.
fn is_in(from: &str, to: &str) -> bool {
    let language = from.split('-').next().unwrap_or(from);
    from.eq_ignore_ascii_case(to) || language.eq_ignore_ascii_case(to)
}

#[async_trait]
impl Runner for Translate {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let text = match StepResult::text(row, &self.column, &[&self.translated]) {
            Ok(text) => text,
            Err(result) => return result,
        };
        let from = self.from.as_ref().and_then(|column| row.get(column));
        let from = from.map(Value::to_text).filter(|f| !f.trim().is_empty());
        let from = from.as_deref().map(str::trim);
        if !has_letters(&text) || from.is_some_and(|from| is_in(from, &self.to)) {
            return self.result(&text, 1);
        }
        let mut own = None;
        let slot = self.kept.slot(format!("{}\n{text}", from.unwrap_or("")));
        let kept = slot
            .get_or_try_init(|| async {
                let translated = self.once(&text, from).await;
                let attempts = match &translated {
                    Ok(done) => done.attempts,
                    Err(failed) => failed.attempts,
                };
                own = Some(attempts);
                translated.map(|done| Arc::new(done.text))
            })
            .await;
        // Who got it from another record tried once.
        let attempts = own.unwrap_or(1);
        match kept {
            Ok(translated) => self.result(translated, attempts),
            Err(failed) => StepResult::failed(failed.reason, attempts),
        }
    }

    async fn close(&self) {}
}
