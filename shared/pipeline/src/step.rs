//! Steps: one type for each kind of `[[step]]`.

use std::time::Duration;

use rowmill_domain::Kind;
use rowmill_domain::job::Resources;
use rowmill_domain::manifest::ParameterValues;

use crate::expr::Expr;
use crate::template::Template;

/// One `[[step]]`: an action on each record.
#[derive(Clone, Debug)]
pub struct Step {
    /// What the step does.
    pub kind: StepKind,
    /// The container image. `None`: the image of the deployment. See [`crate::Pipeline::phases`].
    pub image: Option<String>,
    /// What a child gets for the step. See [`crate::Pipeline::phases`].
    pub resources: Resources,
}

impl Step {
    /// Whether both can run in the same container.
    pub(crate) fn runs_with(&self, other: &Step) -> bool {
        (&self.image, self.resources) == (&other.image, other.resources)
    }

    /// Returns `kind` as the file writes it, such as `http`.
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

    /// Returns the columns that the step adds, in order.
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
    /// Sends an HTTP request and extracts columns from the response.
    Http(Box<HttpStep>),
    /// Runs a program of the pipeline's author.
    Command(CommandStep),
    /// Scores the sentiment of a text with a lexicon, offline.
    Sentiment(SentimentStep),
    /// Detects the language of a text, offline.
    Language(LanguageStep),
    /// Translates a text.
    Translate(Box<TranslateStep>),
    /// Labels a text with a trained model, offline.
    Classify(ClassifyStep),
}

/// `kind = "http"`: sends an HTTP request for each record.
#[derive(Clone, Debug)]
pub struct HttpStep {
    /// The HTTP method. Default GET.
    pub method: HttpMethod,
    /// The URL.
    pub url: Template,
    /// Query parameters added to the URL, in order.
    pub query: Vec<(String, Template)>,
    /// Request headers, in order.
    pub headers: Vec<(String, Template)>,
    /// The request body, for methods other than GET and HEAD.
    pub body: Option<Template>,
    /// The fields of a form, in order; sent instead of [`HttpStep::body`].
    pub form: Vec<(String, Template)>,
    /// Time limit for one attempt, from connecting to the last byte. Default 30 s.
    pub timeout: Duration,
    /// Maximum number of attempts, 1 to 10. Default 4.
    pub attempts: u32,
    /// The statuses that are retried. Default: [`RETRY_ON`].
    pub retry_on: Vec<u16>,
    /// Maximum requests per second to one host, shared by all children of all runs that use the same
    /// rate. `None`: no limit.
    pub rate: Option<f64>,
    /// Whether to obey the host's robots.txt. Default true.
    pub robots: bool,
    /// Hosts (name or address, without port) that may have private addresses.
    pub allow_hosts: Vec<String>,
    /// The proxy for all requests. It can use secrets, but no columns.
    pub proxy: Option<Template>,
    /// Certificates of additional certificate authorities to trust, in PEM format.
    pub ca: Option<String>,
    /// Whether to send a GET with the same URL and headers only once per run and to reuse the
    /// response for all records.
    pub cache: bool,
    /// A condition that decides, for every status, whether the response is a success. It can use the
    /// row, the outputs in the response, and `status`. `None`: the status is 200 to 299.
    pub ok_when: Option<Expr>,
    /// How the step signs in.
    pub auth: Option<Auth>,
    /// How long cookies are kept. Default: while the redirects of a request are followed.
    pub cookies: CookieScope,
    /// How to follow the pages of a paginated response.
    pub pages: Option<Pages>,
    /// The columns to extract from the response.
    pub outputs: Vec<HttpOutput>,
}

/// The statuses that are retried by default: timeouts (408, 504, 522, 524), too many requests (429),
/// and errors of the server or its proxy (500, 502, 503).
pub const RETRY_ON: [u16; 8] = [408, 429, 500, 502, 503, 504, 522, 524];

/// `[step.auth]` of an `http` step. Its templates can use secrets, but no columns.
#[derive(Clone, Debug)]
pub enum Auth {
    /// OAuth 2.0 with client credentials.
    OAuth {
        /// The URL that issues tokens.
        url: Template,
        /// The client.
        client_id: Template,
        /// Its secret.
        client_secret: Template,
        /// Further fields of the request, such as the scope.
        fields: Vec<(&'static str, Template)>,
        /// Whether client and secret are in the form instead of the header.
        in_body: bool,
    },
    /// Digest authentication.
    Digest {
        /// The user.
        user: Template,
        /// The password.
        password: Template,
    },
}

/// How long the cookies of an `http` step are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieScope {
    /// While the redirects of one request are followed.
    #[default]
    Redirects,
    /// For all requests of the step in a child.
    Step,
}

/// `[step.pages]` of an `http` step: how to follow the pages of a paginated response.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Where the next page is.
    pub next: NextPage,
    /// Maximum number of pages to request.
    pub max: u32,
    /// Other hosts that the next page can be on.
    pub hosts: Vec<String>,
}

/// Where the next page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextPage {
    /// At the URL in this part of the current page; the last page has none. In a `Link` header, the
    /// one with `rel="next"`.
    Link(Extract),
    /// At the same URL with the cursor in this part of the current page; the last page has none.
    Cursor {
        /// The query parameter that holds the cursor.
        query: String,
        /// Where the cursor is.
        from: Extract,
    },
    /// At the same URL with the next number: of the page, or of its first record.
    Number {
        /// The query parameter that holds the number.
        query: String,
        /// The first number.
        from: u32,
        /// By how much it grows.
        step: u32,
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
    /// All methods.
    pub const ALL: [HttpMethod; 6] = [
        HttpMethod::Get,
        HttpMethod::Post,
        HttpMethod::Put,
        HttpMethod::Patch,
        HttpMethod::Delete,
        HttpMethod::Head,
    ];

    /// Returns the name in the file and in the request, such as `GET`.
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

/// One entry of `[step.outputs]` of an `http` step: a column to extract.
#[derive(Clone, Debug)]
pub struct HttpOutput {
    /// The name of the column.
    pub name: String,
    /// Where the value is in the response.
    pub from: Extract,
    /// The type of the value. `None`: the type in JSON, number for the status, text otherwise.
    pub kind: Option<Kind>,
    /// Whether the value is an address that becomes absolute.
    pub absolute: bool,
    /// Whether a response without a match is accepted; the cell is then empty.
    pub optional: bool,
}

/// Where a value is in a response. JSONPath and CSS selectors are parsed when the step is prepared,
/// which `rowmill check` does too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extract {
    /// JSONPath (RFC 9535); the first match.
    Json(String),
    /// JSONPath; the texts of all matches, joined by `; `.
    JsonAll(String),
    /// CSS selector; the text of the first match.
    Css(String),
    /// CSS selector; the texts of all matches, joined by `; `.
    CssAll(String),
    /// CSS selector; an attribute of the first match.
    CssAttribute {
        /// The selector.
        selector: String,
        /// The name of the attribute.
        attribute: String,
    },
    /// Regular expression on the text of the response; the first group of the first match, or the
    /// whole match if there is no group.
    Regex(String),
    /// Regular expression; the texts of all matches, joined by `; `.
    RegexAll(String),
    /// A header of the response.
    Header(String),
    /// The status, as a number.
    Status,
}

/// `kind = "command"`: runs a program.
#[derive(Clone, Debug)]
pub struct CommandStep {
    /// The program and its arguments. The program itself is an [`Argument::Text`].
    pub program: Vec<Argument>,
    /// The columns that the program adds.
    pub outputs: Vec<String>,
    /// Time limit per record. Default 60 s.
    pub timeout: Duration,
    /// Maximum number of attempts for a record that crashes the program or exceeds the time limit,
    /// 1 to 10. Default 1.
    pub attempts: u32,
    /// Whether one process handles all records of a child, or each record gets its own.
    pub process: ProcessPer,
    /// Maximum address space of a process in MiB, on Linux. `None`: no limit of its own.
    pub process_memory_mib: Option<u32>,
    /// A file that each child downloads first.
    pub fetch: Option<Fetch>,
    /// Whether the program inherits credentials for AWS. Default false.
    pub aws: bool,
}

/// An argument of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A literal, or the value of a parameter that the pipeline fixes.
    Text(String),
    /// The name of a parameter that uploads can set.
    Parameter(String),
}

impl Argument {
    /// Returns the text of the argument, with the values of the run's parameters.
    ///
    /// # Errors
    /// The name of the parameter, if `values` does not have it.
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

/// `[step.fetch]` of a `command` step: a file that each child downloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// `s3://bucket/key`, or a path in the pipeline's folder.
    pub url: String,
    /// The SHA-256 of the file, in lower-case hexadecimal digits.
    pub sha256: String,
    /// The type of the file.
    pub kind: FetchKind,
}

/// `type` of a fetched file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchKind {
    /// A file that is executed directly.
    Script,
    /// A zip file that is unpacked.
    Zip,
}

impl FetchKind {
    /// Returns `script` or `zip`, as the pipeline file writes it.
    pub fn name(self) -> &'static str {
        match self {
            FetchKind::Script => "script",
            FetchKind::Zip => "zip",
        }
    }
}

impl Fetch {
    /// Returns the bucket and key. `None`: it is a path.
    pub fn location(&self) -> Option<(&str, &str)> {
        self.url.strip_prefix("s3://")?.split_once('/')
    }

    /// Returns the name of the file: the last part of its address.
    pub fn file_name(&self) -> &str {
        rowmill_domain::keys::file_name(&self.url)
    }
}

/// How often the program of a `command` step starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessPer {
    /// Once per child. It reads records line by line until its input ends.
    #[default]
    Child,
    /// Once per record. It reads one line, writes one line and exits.
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

/// `kind = "language"`: detects the language of a text.
#[derive(Clone, Debug)]
pub struct LanguageStep {
    /// The column with the text.
    pub column: String,
    /// The codes of the languages that can occur. Empty: all known languages.
    pub languages: Vec<String>,
    /// The lowest confidence at which a language counts as detected, 0 to 1. Default 0.5.
    pub min_confidence: f64,
    /// The added column with the code of the language.
    pub detected: String,
    /// The added column with the confidence.
    pub confidence: String,
}

/// `kind = "translate"`: translates a text.
#[derive(Clone, Debug)]
pub struct TranslateStep {
    /// The column with the text.
    pub column: String,
    /// The code of the target language.
    pub to: String,
    /// The column with the language of the text. `None`: the service detects it.
    pub from: Option<String>,
    /// The translation service.
    pub service: TranslateService,
    /// The added column with the translation.
    pub translated: String,
}

/// A translation service.
#[derive(Clone, Debug)]
pub enum TranslateService {
    /// Amazon Translate.
    Amazon,
    /// A server with the LibreTranslate API.
    Server(TranslateServer),
}

/// `service = { url = ".." }` of a `translate` step: a server with the LibreTranslate API. Fields that
/// [`HttpStep`] has too have the same meaning.
#[derive(Clone, Debug)]
pub struct TranslateServer {
    /// The URL without `/translate` and without a trailing slash.
    pub url: String,
    /// The API key, if the server requires one.
    pub api_key: Option<Template>,
    /// Maximum number of characters in one request. `None`: the server is asked.
    pub max_chars: Option<u32>,
    /// Time limit for one attempt. Default 30 s.
    pub timeout: Duration,
    /// Maximum number of attempts, 1 to 10. Default 4.
    pub attempts: u32,
    /// Maximum requests per second. `None`: no limit.
    pub rate: Option<f64>,
    /// Hosts that can have private addresses.
    pub allow_hosts: Vec<String>,
}

/// `kind = "classify"`: labels a text with a trained model.
#[derive(Clone, Debug)]
pub struct ClassifyStep {
    /// The column with the text.
    pub column: String,
    /// The file of the model, relative to the pipeline's folder.
    pub model: String,
    /// The added column with the label.
    pub label: String,
    /// The added column with the probability of the label.
    pub probability: String,
    /// The added column with the words that contributed most to the label, if requested.
    pub words: Option<ClassifyWords>,
}

/// The column `words` of a `classify` step.
#[derive(Clone, Debug)]
pub struct ClassifyWords {
    /// The name of the column.
    pub column: String,
    /// Maximum number of words, 1 to 100.
    pub most: u32,
}
