//! A server that speaks LibreTranslate's protocol: `POST /translate` and `GET /frontend/settings`.
//! It is asked as an `http` step asks its source: the address guard, the time limit, attempts,
//! pauses and the rate are the same ones.

use std::time::Duration;

use async_trait::async_trait;
use rowmill_domain::record::{Columns, Outputs};
use rowmill_domain::{Kind, Record, Row, Value};
use rowmill_pipeline::{
    Expr, Extract, HttpMethod, HttpOutput, HttpStep, Template, TranslateServer,
};
use tokio::sync::OnceCell;

use super::{Limit, Translation, Translator, Untranslated};
use crate::http::Http;
use crate::{Runner as _, Setup, SetupError, StepResult, brief};

/// Characters of a request where neither the pipeline nor the server says. Source: the default of
/// LibreTranslate's public server, `charLimit` in its settings.
const CHARS_DEFAULT: usize = 5000;
/// What the server says of itself is good to know and not needed, so it is not waited for long.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(5);

/// The columns of a request, as the templates below know them.
const COLUMNS: [&str; 3] = ["q", "source", "target"];
/// Any answer that the server gives by design; the others are tried again.
const ANSWERED: &str = "status < 500 && status != 408 && status != 429";

pub(super) struct LibreTranslate {
    columns: Columns,
    translate: Http,
    settings: Http,
    given: Option<usize>,
    told: OnceCell<usize>,
}

impl LibreTranslate {
    pub(super) fn new(
        server: &TranslateServer,
        setup: &Setup,
    ) -> Result<LibreTranslate, SetupError> {
        let key = server.api_key.as_ref().map_or_else(String::new, |key| {
            // A template of its own, which may ask for a secret. Keys are UUIDs and need no escapes.
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
            rate: server.rate,
            // A service that is asked by leave of its owner, no site that is read.
            robots: false,
            allow_hosts: server.allow_hosts.clone(),
            proxy: None,
            ca: None,
            cache: false,
            ok_when: Some(fixed(Expr::compile(ANSWERED))?),
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
            translate: Http::new(&translate, setup)?,
            settings: Http::new(&settings, setup)?,
            given: server.max_chars.map(|n| n as usize),
            told: OnceCell::new(),
        })
    }

    async fn ask(&self, http: &Http, values: [&str; 3]) -> StepResult {
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
        if let Some(given) = self.given {
            return Limit::Chars(given);
        }
        let told = self.told.get_or_init(|| async {
            let settings = self.ask(&self.settings, ["", "", ""]).await;
            match value(&settings.outputs.unwrap_or_default(), "limit") {
                // -1 is no limit; a text of any length in one request would still run into the
                // time limit.
                Some(Value::Number(n)) if *n >= 1.0 => *n as usize,
                _ => CHARS_DEFAULT,
            }
        });
        Limit::Chars(*told.await)
    }

    async fn translate(
        &self,
        text: &str,
        from: Option<&str>,
        to: &str,
    ) -> Result<Translation, Untranslated> {
        let values = [text, from.map_or("auto", code), code(to)];
        let result = self.ask(&self.translate, values).await;
        let attempts = result.attempts;
        let failed = |reason| Untranslated { reason, attempts };
        let outputs = result.outputs.map_err(failed)?;
        if let Some(Value::Text(text)) = value(&outputs, "translated") {
            let text = text.clone();
            return Ok(Translation { text, attempts });
        }
        let status = value(&outputs, "status").map_or_else(String::new, Value::to_text);
        Err(failed(match value(&outputs, "error") {
            Some(told) => format!(
                "the server answers {status}: {}",
                brief(&told.to_text(), 200)
            ),
            None => format!("the server answers {status}, without a translation"),
        }))
    }
}

fn value<'a>(outputs: &'a Outputs, name: &str) -> Option<&'a Value> {
    let found = outputs.iter().find(|(n, _)| **n == *name);
    found.map(|(_, value)| value)
}

/// LibreTranslate's code of a language, where it is not everybody's.
fn code(language: &str) -> &str {
    match language {
        "no" => "nb",
        other => other,
    }
}

/// What a host's gate tells records apart by: one number for a text.
fn row_of(text: &str) -> u32 {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(text);
    hash as u32
}

/// What is compiled from texts of our own and the server's address.
fn fixed<T, E: std::fmt::Display>(compiled: Result<T, E>) -> Result<T, SetupError> {
    compiled.map_err(|e| SetupError::Service(e.to_string()))
}
