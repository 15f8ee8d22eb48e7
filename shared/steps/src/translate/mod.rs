//! `translate`: translates a text into another language with a service.
//!
//! This module does what is common to all services: it requests each text once per run, splits long
//! texts, and does not send texts that need no translation. A service is a [`Translator`]: Amazon
//! Translate, implemented with the SDK, or any server with LibreTranslate's API ([`libre`]).

mod libre;
mod split;

use std::sync::Arc;

use async_trait::async_trait;
use rowmill_domain::{Row, Value};
use rowmill_pipeline::{TranslateService, TranslateStep};

use self::libre::LibreTranslate;
use crate::answers::get_or_share;
use crate::cache::Cache;
use crate::{Answers, Runner, SetupError, StepDeps, StepResult};

/// A translation service.
#[async_trait]
pub trait Translator: Send + Sync {
    /// Longest text that the service accepts in one request.
    async fn limit(&self) -> Limit;

    /// Translates a text that is within the limit, and retries transient errors. Languages are codes
    /// such as `en`; without `from`, the service detects the language.
    ///
    /// # Errors
    /// The service rejected the text, or every attempt failed.
    async fn translate(
        &self,
        text: &str,
        from: Option<&str>,
        to: &str,
    ) -> Result<Translation, TranslationError>;
}

/// The longest text that a service accepts in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of UTF-8.
    Bytes(usize),
    /// Unicode characters.
    Chars(usize),
}

impl Limit {
    fn accepts(self, text: &str) -> bool {
        match self {
            Limit::Bytes(max) => text.len() <= max,
            Limit::Chars(max) => text.chars().count() <= max,
        }
    }
}

/// A translated text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The translation.
    pub text: String,
    /// Number of attempts.
    pub attempts: u32,
}

/// Why a text was not translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranslationError {
    /// The text for the row's `error`.
    pub reason: String,
    /// Number of attempts.
    pub attempts: u32,
}

pub(crate) struct Translate {
    column: String,
    from: Option<String>,
    to: String,
    translated: Arc<str>,
    service: Arc<dyn Translator>,
    /// Identifies the service in the keys of shared answers.
    service_name: String,
    /// Translations cached by this child.
    cache: Cache<String>,
    /// Translations shared by the children of the run.
    shared: Option<Arc<dyn Answers>>,
}

impl Translate {
    pub(crate) fn new(step: &TranslateStep, deps: &StepDeps) -> Result<Translate, SetupError> {
        let (service, service_name): (Arc<dyn Translator>, _) = match &step.service {
            TranslateService::Amazon => (
                deps.amazon.clone().ok_or(SetupError::NoAmazon)?,
                "amazon".to_owned(),
            ),
            TranslateService::Server(server) => (
                Arc::new(LibreTranslate::new(server, deps)?),
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
            cache: Cache::default(),
            shared: deps.answers.clone(),
        })
    }

    /// Translates a text, unless another child of the run shares the translation.
    async fn translate_or_share(
        &self,
        text: &str,
        from: Option<&str>,
    ) -> Result<Translation, TranslationError> {
        let find = self.translate(text, from);
        let Some(shared) = &self.shared else {
            return find.await;
        };
        let (service, to) = (&self.service_name, &self.to);
        let question = format!("{service}\n{to}\n{}\n{text}", from.unwrap_or(""));
        let decode = |answer: &str| {
            let text = answer.to_owned();
            Some(Ok(Translation { text, attempts: 1 }))
        };
        // After a failure, another child may try.
        let encode = |found: &Result<Translation, _>| found.as_ref().ok().map(|t| t.text.clone());
        get_or_share(&**shared, &question, decode, find, encode).await
    }

    /// Translates a text of any length, one part at a time.
    async fn translate(
        &self,
        text: &str,
        from: Option<&str>,
    ) -> Result<Translation, TranslationError> {
        let parts = split::parts(text, self.service.limit().await);
        let mut whole = Translation {
            text: String::with_capacity(text.len()),
            attempts: 1,
        };
        for (done, part) in parts.iter().enumerate() {
            // Services trim their input, so keep the white space between the parts here.
            let core = part.trim();
            let (before, after) = part.split_at(part.len() - part.trim_start().len());
            whole.text += before;
            if has_letters(core) {
                let translated = self.service.translate(core, from, &self.to).await;
                let translated = translated.map_err(|e| TranslationError {
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

/// Whether there is anything to translate: numbers and symbols are the same in all languages.
fn has_letters(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

/// Whether a text in the language `from` needs no translation into `to`. A variety such as `pt-BR`
/// matches only itself; a language matches all of its varieties.
fn is_same(from: &str, to: &str) -> bool {
    let language = from.split('-').next().unwrap_or(from);
    from.eq_ignore_ascii_case(to) || language.eq_ignore_ascii_case(to)
}

#[async_trait]
impl Runner for Translate {
    async fn run(&self, row: Row<'_>) -> StepResult {
        let text = match StepResult::input_text(row, &self.column, &[&self.translated]) {
            Ok(text) => text,
            Err(result) => return result,
        };
        let from = self.from.as_ref().and_then(|column| row.get(column));
        let from = from.map(Value::to_text).filter(|f| !f.trim().is_empty());
        let from = from.as_deref().map(str::trim);
        if !has_letters(&text) || from.is_some_and(|from| is_same(from, &self.to)) {
            return self.result(&text, 1);
        }
        let mut own = None;
        let slot = self.cache.slot(format!("{}\n{text}", from.unwrap_or("")));
        let cached = slot
            .get_or_try_init(|| async {
                let translated = self.translate_or_share(&text, from).await;
                let attempts = match &translated {
                    Ok(done) => done.attempts,
                    Err(failed) => failed.attempts,
                };
                own = Some(attempts);
                translated.map(|done| Arc::new(done.text))
            })
            .await;
        // A cached translation counts as one attempt.
        let attempts = own.unwrap_or(1);
        match cached {
            Ok(translated) => self.result(translated, attempts),
            Err(failed) => StepResult::failed(failed.reason, attempts),
        }
    }

    async fn close(&self) {}
}
