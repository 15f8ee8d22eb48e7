//! A server with LibreTranslate's API: `POST /translate` and `GET /frontend/settings`. Requests go
//! through an `http` step, with the same address guard, time limit, retries and rate limit.

use std::time::Duration;

use async_trait::async_trait;
use rowmill_domain::record::{Columns, Outputs};
use rowmill_domain::{Kind, Record, Row, Value};
use rowmill_pipeline::{
    CookieScope, Expr, Extract, HttpMethod, HttpOutput, HttpStep, RETRY_ON, Template,
    TranslateServer,
};
use tokio::sync::OnceCell;

use super::{Limit, Translation, TranslationError, Translator};
use crate::http::Http;
use crate::{Runner as _, SetupError, StepDeps, StepResult, truncate};

/// Characters per request if neither the pipeline nor the server sets a limit. Source: `charLimit` in
/// the settings of LibreTranslate's public server.
const CHARS_DEFAULT: usize = 5000;
/// The settings are optional, so the wait for them is short.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(5);

/// The columns that the templates below use.
const COLUMNS: [&str; 3] = ["q", "source", "target"];
/// Answers that are not retried.
const ANSWERED: &str = "status < 500 && status != 408 && status != 429";

pub(super) struct LibreTranslate {
    columns: Columns,
    translate: Http,
    settings: Http,
    /// The limit that the pipeline sets.
    configured_limit: Option<usize>,
    /// The limit that the server reports.
    server_limit: OnceCell<usize>,
}

impl LibreTranslate {
    pub(super) fn new(
        server: &TranslateServer,
        deps: &StepDeps,
    ) -> Result<LibreTranslate, SetupError> {
        let key = server.api_key.as_ref().map_or_else(String::new, |key| {
            // The key is a template, which may use a secret. Keys are UUIDs and need no escapes.
            format!(", \"api_key\": \"{}\"", key.source())
        });
        let body = format!(
            "{{\"q\": {{{{ row['q'] | tojson }}}}, \"source\": {{{{ row['source'] | tojson }}}}, \
             \"target\": {{{{ row['target'] | tojson }}}}, \"format\": \"text\"{key}}}"
        );
        let output = |name: &str, path: &str, kind| HttpOutput {
            name: name.to_owned(),
            from: Extract::Json(path.to_owned()),
            kind: Some(kind),
            absolute: false,
            optional: true,
        };
        let translate = HttpStep {
            method: HttpMethod::Post,
            url: fixed(Template::compile(&format!("{}/translate", server.url)))?,
            query: Vec::new(),
            headers: Vec::new(),
            body: Some(fixed(Template::compile(&body))?),
            form: Vec::new(),
            timeout: server.timeout,
            attempts: server.attempts,
            retry_on: RETRY_ON.to_vec(),
            rate: server.rate,
            // robots.txt is for crawlers. The user has permission to use this API.
            robots: false,
            allow_hosts: server.allow_hosts.clone(),
            proxy: None,
            ca: None,
            cache: false,
            ok_when: Some(fixed(Expr::compile(ANSWERED))?),
            auth: None,
            cookies: CookieScope::Redirects,
            pages: None,
            outputs: vec![
                output("translated", "$.translatedText", Kind::Text),
                output("error", "$.error", Kind::Text),
                HttpOutput {
                    from: Extract::Status,
                    ..output("status", "", Kind::Number)
                },
            ],
        };
        let settings = HttpStep {
            method: HttpMethod::Get,
            url: fixed(Template::compile(&format!(
                "{}/frontend/settings",
                server.url
            )))?,
            body: None,
            timeout: server.timeout.min(SETTINGS_TIMEOUT),
            attempts: 1,
            rate: None,
            ok_when: None,
            outputs: vec![output("limit", "$.charLimit", Kind::Number)],
            ..translate.clone()
        };
        Ok(LibreTranslate {
            columns: Columns::new(COLUMNS),
            translate: Http::new(&translate, deps)?,
            settings: Http::new(&settings, deps)?,
            configured_limit: server.max_chars.map(|n| n as usize),
            server_limit: OnceCell::new(),
        })
    }

    async fn send(&self, http: &Http, values: [&str; 3]) -> StepResult {
        let record = Record {
            row: row_of(values[0]),
            values: values.map(|v| Some(Value::from(v))).to_vec(),
        };
        let row = Row {
            columns: &self.columns,
            record: &record,
            outputs: &[],
        };
        http.run(row).await
    }
}

#[async_trait]
impl Translator for LibreTranslate {
    async fn limit(&self) -> Limit {
        if let Some(limit) = self.configured_limit {
            return Limit::Chars(limit);
        }
        let limit = self.server_limit.get_or_init(|| async {
            let settings = self.send(&self.settings, ["", "", ""]).await;
            match value(&settings.outputs.unwrap_or_default(), "limit") {
                // -1 means no limit, but a very long text would exceed the time limit.
                Some(Value::Number(n)) if *n >= 1.0 => *n as usize,
                _ => CHARS_DEFAULT,
            }
        });
        Limit::Chars(*limit.await)
    }

    async fn translate(
        &self,
        text: &str,
        from: Option<&str>,
        to: &str,
    ) -> Result<Translation, TranslationError> {
        let values = [text, from.map_or("auto", code), code(to)];
        let result = self.send(&self.translate, values).await;
        let attempts = result.attempts;
        let failed = |reason| TranslationError { reason, attempts };
        let outputs = result.outputs.map_err(failed)?;
        if let Some(Value::Text(text)) = value(&outputs, "translated") {
            let text = text.clone();
            return Ok(Translation { text, attempts });
        }
        let status = value(&outputs, "status").map_or_else(String::new, Value::to_text);
        Err(failed(match value(&outputs, "error") {
            Some(error) => format!(
                "the server answered {status}: {}",
                truncate(&error.to_text(), 200)
            ),
            None => format!("the server answered {status} without a translation"),
        }))
    }
}

fn value<'a>(outputs: &'a Outputs, name: &str) -> Option<&'a Value> {
    let found = outputs.iter().find(|(n, _)| **n == *name);
    found.map(|(_, value)| value)
}

/// LibreTranslate's code of a language, which is not always the common one.
fn code(language: &str) -> &str {
    match language {
        "no" => "nb",
        other => other,
    }
}

/// A row number for a text, by which the host limiter distinguishes records.
fn row_of(text: &str) -> u32 {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(text);
    hash as u32
}

/// The result of compiling a template that contains only our text and the server's address.
fn fixed<T, E: std::fmt::Display>(compiled: Result<T, E>) -> Result<T, SetupError> {
    compiled.map_err(|e| SetupError::Service(e.to_string()))
}
