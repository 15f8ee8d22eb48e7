//! What is done to a record: one type for each kind of step.

use std::time::Duration;

use rowmill_domain::Kind;
use rowmill_domain::manifest::ParameterValues;

use crate::expr::Expr;
use crate::template::Template;

/// One `[[step]]`.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// A container image of its own, which makes a phase of its own.
    pub image: Option<String>,
}

impl Step {
    /// `http`, `command`, ..: as in the file.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            StepKind::Http(_) => "http",
            StepKind::Command(_) => "command",
            StepKind::Sentiment(_) => "sentiment",
            StepKind::Language(_) => "language",
            StepKind::Translate(_) => "translate",
            StepKind::Classify(_) => "classify",
        }
    }

    /// The columns it adds, in order.
    pub fn outputs(&self) -> Vec<&str> {
        match &self.kind {
            StepKind::Http(http) => http.outputs.iter().map(|o| o.name.as_str()).collect(),
            StepKind::Command(command) => command.outputs.iter().map(String::as_str).collect(),
            StepKind::Sentiment(_) => SENTIMENT_OUTPUTS.to_vec(),
            StepKind::Language(language) => vec![&language.detected, &language.confidence],
            StepKind::Translate(translate) => vec![&translate.translated],
            StepKind::Classify(classify) => {
                let (label, probability) = (&*classify.label, &*classify.probability);
                let words = classify.words.as_ref().map(|w| &*w.column);
                [label, probability].into_iter().chain(words).collect()
            }
        }
    }
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// Fetches and extracts.
    Http(Box<HttpStep>),
    /// Runs a program of the user's.
    Command(CommandStep),
    /// Scores a text with an offline lexicon.
    Sentiment(SentimentStep),
    /// Tells a text's language, offline.
    Language(LanguageStep),
    /// Translates a text.
    Translate(Box<TranslateStep>),
    /// Labels a text with a model of the user's.
    Classify(ClassifyStep),
}

/// `kind = "http"`
#[derive(Clone, Debug)]
pub struct HttpStep {
    /// The method.
    pub method: HttpMethod,
    /// The URL.
    pub url: Template,
    /// Parameters added to the URL's query, in order.
    pub query: Vec<(String, Template)>,
    /// Headers, in order.
    pub headers: Vec<(String, Template)>,
    /// The body, of methods that have one.
    pub body: Option<Template>,
    /// The body as a form, in place of [`HttpStep::body`], in order.
    pub form: Vec<(String, Template)>,
    /// Of one attempt, connection to last byte. Default 30 s.
    pub timeout: Duration,
    /// Attempts in all, 1 to 10. Default 4.
    pub attempts: u32,
    /// Requests a second to one host, of all children of all runs that name the same. Default: no
    /// limit.
    pub rate: Option<f64>,
    /// Whether a host's robots.txt is asked for and obeyed. Default: true.
    pub robots: bool,
    /// Hosts (name or address, without port) that may lie in private ranges.
    pub allow_hosts: Vec<String>,
    /// The proxy that all requests go through; mentions secrets and no columns.
    pub proxy: Option<Template>,
    /// PEM of certificates that are trusted as well.
    pub ca: Option<String>,
    /// Whether a GET with the same URL and headers is sent once in a run, and its response used for
    /// all records that ask for it.
    pub cache: bool,
    /// True where a response of whatever status is a success; it sees the row, the outputs that
    /// the response has, and `status`. Default: the status is 200 to 299.
    pub ok_when: Option<Expr>,
    /// How an answer goes on in further pages.
    pub pages: Option<Pages>,
    /// What is taken from the response.
    pub outputs: Vec<HttpOutput>,
}

/// `[step.pages]` of an `http` step.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Where the next one is.
    pub next: NextPage,
    /// Pages asked for at the most.
    pub max: u32,
    /// Other hosts that the next page may be on.
    pub hosts: Vec<String>,
}

/// Where the next page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextPage {
    /// Where a part of this one says; the last one says nothing. A header `Link` is asked for its
    /// relation `next`.
    Link(Extract),
    /// Under the next number, as this parameter of the URL.
    Number {
        /// The parameter.
        query: String,
        /// The number of the first page.
        from: u32,
    },
}

/// The methods of an `http` step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// HEAD
    Head,
}

impl HttpMethod {
    /// All of them.
    pub const ALL: [HttpMethod; 6] = [
        HttpMethod::Get,
        HttpMethod::Post,
        HttpMethod::Put,
        HttpMethod::Patch,
        HttpMethod::Delete,
        HttpMethod::Head,
    ];

    /// `GET`: as in the file and in the request.
    pub fn name(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Delete => "DELETE",
            HttpMethod::Head => "HEAD",
        }
    }
}

/// One entry of `[step.outputs]` of an `http` step.
#[derive(Clone, Debug)]
pub struct HttpOutput {
    /// The column.
    pub name: String,
    /// From where.
    pub from: Extract,
    /// The value's type; default: as JSON says, text for CSS.
    pub kind: Option<Kind>,
    /// Absent without failing the record.
    pub optional: bool,
}

/// Where an output of an `http` step comes from. The syntax is checked where the step is set up,
/// which `check` does before anything runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extract {
    /// JSONPath (RFC 9535); the first match.
    Json(String),
    /// JSONPath; all matches as texts, joined by `; `.
    JsonAll(String),
    /// CSS selector; the text of the first match.
    Css(String),
    /// CSS selector; the texts of all matches, joined by `; `.
    CssAll(String),
    /// CSS selector; an attribute of the first match.
    CssAttribute {
        /// The selector.
        selector: String,
        /// The attribute's name.
        attribute: String,
    },
    /// Regular expression on the response's text; the first group of the first match, or the
    /// match where there is no group.
    Regex(String),
    /// Regular expression; the texts of all matches, joined by `; `.
    RegexAll(String),
    /// A header of the response.
    Header(String),
    /// The status, as a number.
    Status,
}

/// `kind = "command"`
#[derive(Clone, Debug)]
pub struct CommandStep {
    /// The program and its arguments; the program itself is a text.
    pub program: Vec<Argument>,
    /// The columns it adds.
    pub outputs: Vec<String>,
    /// Per record. Default 60 s.
    pub timeout: Duration,
    /// Attempts in all on a record that crashed the program or ran out of time, 1 to 10.
    /// Default 1.
    pub attempts: u32,
    /// One process for all records of a child, or one for each record.
    pub process: ProcessPer,
    /// Memory that the program may ask for, in MiB. Default: no limit but the child's. On Linux.
    pub memory_mib: Option<u32>,
    /// What each child fetches first.
    pub fetch: Option<Fetch>,
}

/// An argument of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// As it stands, or the text of a parameter that the pipeline fixes.
    Text(String),
    /// A parameter that an upload may give, by its name.
    Parameter(String),
}

impl Argument {
    /// The argument's text.
    ///
    /// # Errors
    /// The parameter's name, where it is not among the values.
    pub fn text<'a>(&'a self, values: &'a ParameterValues) -> Result<&'a str, &'a str> {
        match self {
            Argument::Text(text) => Ok(text),
            Argument::Parameter(name) => values.get(name).map(String::as_str).ok_or(name.as_str()),
        }
    }
}

impl From<&str> for Argument {
    fn from(text: &str) -> Argument {
        Argument::Text(text.to_owned())
    }
}

/// `[step.fetch]` of a `command` step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// `s3://bucket/key`, or a path.
    pub url: String,
    /// Of the file, in lower-case hexadecimal digits.
    pub sha256: String,
    /// What it is.
    pub kind: FetchKind,
}

/// `type` of a fetched program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchKind {
    /// A file that is started as it is.
    Script,
    /// A zip.
    Zip,
}

impl FetchKind {
    /// `script` or `zip`, as in the file.
    pub fn name(self) -> &'static str {
        match self {
            FetchKind::Script => "script",
            FetchKind::Zip => "zip",
        }
    }
}

impl Fetch {
    /// Bucket and key; `None` for a path.
    pub fn location(&self) -> Option<(&str, &str)> {
        self.url.strip_prefix("s3://")?.split_once('/')
    }

    /// The file's name: the last part of its address.
    pub fn file_name(&self) -> &str {
        rowmill_domain::keys::file_name(&self.url)
    }
}

/// How often the program of a `command` step is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessPer {
    /// Once in a child; it reads records line by line until its input ends.
    #[default]
    Child,
    /// For each record: it reads one line, answers one, and ends.
    Record,
}

/// The columns that a sentiment step adds.
pub(crate) const SENTIMENT_OUTPUTS: [&str; 2] = ["sa_class", "sa_score"];

/// `kind = "sentiment"`: adds `sa_class` (positive, neutral, negative) and `sa_score` (-1 to 1).
#[derive(Clone, Debug)]
pub struct SentimentStep {
    /// The column with the text.
    pub column: String,
}

/// `kind = "language"`
#[derive(Clone, Debug)]
pub struct LanguageStep {
    /// The column with the text.
    pub column: String,
    /// The languages that occur, by their codes; empty for all that can be told.
    pub languages: Vec<String>,
    /// Below this no language is told; 0 to 1. Default 0.5.
    pub min_confidence: f64,
    /// The added column with the language's code.
    pub detected: String,
    /// The added column with the confidence.
    pub confidence: String,
}

/// `kind = "translate"`
#[derive(Clone, Debug)]
pub struct TranslateStep {
    /// The column with the text.
    pub column: String,
    /// The language to translate to, by its code.
    pub to: String,
    /// The column with the text's language; `None` where the service is to tell it.
    pub from: Option<String>,
    /// Who translates.
    pub service: TranslateService,
    /// The added column.
    pub translated: String,
}

/// Who translates.
#[derive(Clone, Debug)]
pub enum TranslateService {
    /// Amazon Translate.
    Amazon,
    /// A server that speaks LibreTranslate's protocol.
    Server(TranslateServer),
}

/// `service = { url = ".." }` of a `translate` step. What a `http` step has too means the same.
#[derive(Clone, Debug)]
pub struct TranslateServer {
    /// Without `/translate` and without a slash at its end.
    pub url: String,
    /// The key that it asks for.
    pub api_key: Option<Template>,
    /// Characters of one request; `None` where the server is to be asked.
    pub max_chars: Option<u32>,
    /// Of one attempt. Default 30 s.
    pub timeout: Duration,
    /// Attempts in all, 1 to 10. Default 4.
    pub attempts: u32,
    /// Requests a second. Default: no limit.
    pub rate: Option<f64>,
    /// Hosts that may lie in private ranges.
    pub allow_hosts: Vec<String>,
}

/// `kind = "classify"`
#[derive(Clone, Debug)]
pub struct ClassifyStep {
    /// The column with the text.
    pub column: String,
    /// The model's file, relative to the pipeline's directory.
    pub model: String,
    /// The added column with the label.
    pub label: String,
    /// The added column with the label's probability.
    pub probability: String,
    /// The words that spoke loudest for the label, where they are asked for.
    pub words: Option<ClassifyWords>,
}

/// The column `words` of a `classify` step.
#[derive(Clone, Debug)]
pub struct ClassifyWords {
    /// Its name.
    pub column: String,
    /// How many words at most; 1 to 100.
    pub most: u32,
}
