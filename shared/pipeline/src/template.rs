//! URLs, headers and bodies: minijinja templates in which missing is never a value.
//!
//! Column names are literal, `row['Customer ID']` or `row.ZIP`, and outputs can be written by their
//! bare name. All references are therefore known before the first row: they are checked against the
//! header, and only these values are passed to the template. Using a missing value is an error in
//! output, filters and comparisons alike; `has(row['Note'])` tests for a value.

mod limits;
mod walk;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Object, Value as Jinja, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, escape_formatter, filters,
};
use rowmill_domain::record::Row;
use rowmill_domain::secret::Secrets;
use rowmill_domain::value::{Value, whole};

pub(crate) use self::walk::{filters as filters_known, tests_known};
use crate::expr::{EvalError, too_long};
use crate::names::{CompileError, Origin, Reference};

/// The filters of minijinja that turn values into text, and the names under which they are called with
/// booleans as text. A template cannot name these.
const TEXT_FILTERS: [(&str, &str); 9] = [
    ("capitalize", "_capitalize"),
    ("format", "_format"),
    ("join", "_join"),
    ("lower", "_lower"),
    ("replace", "_replace"),
    ("string", "_string"),
    ("title", "_title"),
    ("trim", "_trim"),
    ("upper", "_upper"),
];

/// The name of the only template in an environment.
const NAME: &str = "text";

/// A compiled template. Cheap to clone.
///
/// ```
/// use rowmill_domain::Value;
/// use rowmill_domain::record::{Columns, Record, Row};
/// use rowmill_pipeline::Template;
///
/// let template = Template::compile("https://example.com/{{ row.City | urlencode }}").unwrap();
/// let columns = Columns::new(["City"]);
/// let render = |city: Option<Value>| {
///     let record = Record { row: 2, values: vec![city] };
///     template.render(Row { columns: &columns, record: &record, outputs: &[] })
/// };
/// assert_eq!(render(Some("Köln/Bonn".into())).unwrap(), "https://example.com/K%C3%B6ln%2FBonn");
/// assert_eq!(render(None).unwrap_err().0, "`City` is empty");
/// ```
#[derive(Clone)]
pub struct Template(Arc<CompiledTemplate>);

struct CompiledTemplate {
    source: String,
    environment: Environment<'static>,
    references: Vec<Reference>,
    secrets: Vec<SecretMention>,
    lookups: Vec<TemplateLookup>,
}

/// A mention of a secret in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMention {
    /// The name of the secret.
    pub name: Arc<str>,
    /// The position in bytes of the source text.
    pub at: Range<usize>,
}

/// One name that the compiled template looks up in its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateLookup {
    /// The variable, or the key of `row`.
    name: Arc<str>,
    what: LookupKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookupKind {
    /// `row[name]`
    Row,
    /// `name`
    Output,
    /// Whether a column has a value; `name` is a generated variable.
    Has(Origin, Arc<str>),
    /// The value of a secret; `name` is a generated variable.
    Secret(Arc<str>),
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.0.source).finish()
    }
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// The syntax is invalid, or the template uses something that is not supported.
    pub fn compile(source: &str) -> Result<Template, CompileError> {
        let walked = walk::walk(source)?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        // Debug information would clone the source into every error, and the reason already names
        // the column.
        environment.set_debug(false);
        environment.set_fuel(Some(limits::STEPS_MAX));
        environment.add_filter("urlencode", urlencode);
        environment.add_filter("base64", |value: &Jinja| {
            STANDARD.encode(as_text(value).to_string())
        });
        environment.add_filter(walk::AS_TEXT, |state: &mut State<'_, '_>, value: &Jinja| {
            limits::count(state, value)?;
            Ok::<_, Error>(as_text(value))
        });
        environment.add_filter(walk::COUNTED, |state: &mut State<'_, '_>, value: &Jinja| {
            limits::count(state, value)?;
            Ok::<_, Error>(value.clone())
        });
        for (name, builtin) in TEXT_FILTERS {
            environment.add_filter(name, move |state: &mut State<'_, '_>, args: &[Jinja]| {
                let args: Vec<Jinja> = args.iter().map(items_as_text).collect();
                limits::check(name, &args)?;
                state.apply_filter(builtin, &args)
            });
        }
        environment.add_filter("_capitalize", filters::capitalize);
        environment.add_filter("_format", filters::format);
        environment.add_filter("_join", filters::join);
        environment.add_filter("_lower", filters::lower);
        environment.add_filter("_replace", filters::replace);
        environment.add_filter("_string", filters::string);
        environment.add_filter("_title", filters::title);
        environment.add_filter("_trim", filters::trim);
        environment.add_filter("_upper", filters::upper);
        environment
            .set_formatter(|out, state, value| escape_formatter(out, state, &as_text(value)));
        environment
            .add_template_owned(NAME, walked.source)
            .map_err(|e| walk::text_error(&e, source))?;
        Ok(Template(Arc::new(CompiledTemplate {
            source: source.to_owned(),
            environment,
            references: walked.references,
            secrets: walked.secrets,
            lookups: walked.lookups,
        })))
    }

    /// Returns the source text.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Returns the columns that the template mentions, in the order of the source.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// Returns the secrets that the template mentions, in the order of the source.
    pub fn secrets(&self) -> &[SecretMention] {
        &self.0.secrets
    }

    /// Renders a template without secrets for a record.
    ///
    /// # Errors
    /// A value is missing, or a filter fails. The message names the column.
    pub fn render(&self, row: Row<'_>) -> Result<String, EvalError> {
        self.render_with(row, &Secrets::default())
    }

    /// Renders the template for a record.
    ///
    /// # Errors
    /// A value or a secret is missing, or a filter fails. The message names the column or secret.
    pub fn render_with(&self, row: Row<'_>, secrets: &Secrets) -> Result<String, EvalError> {
        let mut context = Context {
            row: Arc::default(),
            variables: Vec::new(),
        };
        let mut cells = Vec::new();
        for lookup in &self.0.lookups {
            match &lookup.what {
                LookupKind::Row => cells.push((lookup.name.clone(), jinja(row.get(&lookup.name)))),
                LookupKind::Output => context
                    .variables
                    .push((lookup.name.clone(), jinja(row.output(&lookup.name)))),
                LookupKind::Has(from, column) => {
                    let value = match from {
                        Origin::Row => row.get(column),
                        Origin::Outputs => row.output(column),
                    };
                    let present = Jinja::from(value.is_some());
                    context.variables.push((lookup.name.clone(), Some(present)));
                }
                LookupKind::Secret(name) => {
                    let value = secrets.get(name).map_or_else(
                        || {
                            let reason = format!("secret `{name}` has no value");
                            Jinja::from(Error::new(ErrorKind::UndefinedError, reason))
                        },
                        Jinja::from,
                    );
                    context.variables.push((lookup.name.clone(), Some(value)));
                }
            }
        }
        context.row = Arc::new(Cells(cells));
        let mut output = limits::Output::default();
        let template = self.0.environment.get_template(NAME);
        let rendered = template.and_then(|template| {
            template
                .render_captured_to(Jinja::from_object(context), &mut output)
                .map(drop)
        });
        match rendered {
            _ if output.is_full() => Err(EvalError(too_long())),
            Ok(()) => Ok(output.into_text()),
            Err(e) => Err(EvalError(reason(&e))),
        }
    }
}

/// Returns the reason of an error without its position in the template, which means nothing to the reader of a row.
fn reason(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, Some(detail)) => detail.to_owned(),
        (ErrorKind::OutOfFuel, _) => {
            let max = limits::STEPS_MAX;
            format!("the template takes more than {max} steps; shorten what it loops over")
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

/// Percent-encodes everything except the unreserved characters of RFC 3986. minijinja's own filter
/// keeps `/`, with which a cell could change the path of a URL. `.` and `..` change it in any encoding,
/// so they are refused.
fn urlencode(value: &Jinja) -> Result<String, Error> {
    let text = as_text(value).to_string();
    if text == "." || text == ".." {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("the value `{text}` would change the path of the URL"),
        ));
    }
    let mut encoded = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(encoded)
}

/// A boolean as text, any other value as it is. Jinja writes `True` and `False`; everywhere else in
/// Rowmill they are `true` and `false`.
fn as_text(value: &Jinja) -> Jinja {
    match value.kind() {
        ValueKind::Bool => Jinja::from(if value.is_true() { "true" } else { "false" }),
        _ => value.clone(),
    }
}

/// A list with its booleans as text, any other value as [`as_text`] returns it.
fn items_as_text(value: &Jinja) -> Jinja {
    match (value.kind(), value.try_iter()) {
        (ValueKind::Seq, Ok(items)) => Jinja::from_iter(items.map(|item| as_text(&item))),
        _ => as_text(value),
    }
}

/// Whole numbers below this value are written with all their digits, as JavaScript does.
const DIGITS_MAX: f64 = 1e21;

fn jinja(value: Option<&Value>) -> Option<Jinja> {
    Some(match value? {
        Value::Bool(b) => Jinja::from(*b),
        // -0.0 is 0.
        Value::Number(n) => match whole(*n + 0.0) {
            Some(i) => Jinja::from(i),
            // Rust writes the shortest digits that give the number, and zeros.
            None if n.fract() == 0.0 && n.abs() < DIGITS_MAX => match n.to_string().parse::<i128>()
            {
                Ok(i) => Jinja::from(i),
                Err(_) => Jinja::from(*n),
            },
            None => Jinja::from(*n),
        },
        Value::Text(t) => Jinja::from(t.as_str()),
        other => Jinja::from(other.to_text()),
    })
}

type Values = Vec<(Arc<str>, Option<Jinja>)>;

/// Returns the value of a name that the template mentions. A missing value becomes an invalid value,
/// which is an error when it is used. A name that the template does not mention, such as a function,
/// is `None`.
fn look_up(values: &Values, name: &str) -> Option<Jinja> {
    let (_, value) = values.iter().find(|(n, _)| &**n == name)?;
    Some(value.clone().unwrap_or_else(|| {
        Jinja::from(Error::new(
            ErrorKind::UndefinedError,
            format!("`{name}` is empty"),
        ))
    }))
}

/// The variables of a template.
#[derive(Debug)]
struct Context {
    row: Arc<Cells>,
    variables: Values,
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Jinja> {
        match key {
            "row" => Some(Jinja::from_dyn_object(self.row.clone())),
            _ => look_up(&self.variables, key),
        }
    }
}

/// The object `row`: the columns that the template mentions.
#[derive(Debug, Default)]
struct Cells(Values);

impl Object for Cells {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Jinja> {
        look_up(&self.0, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_domain::record::{Columns, Outputs, Record};

    fn render(text: &str) -> Result<String, String> {
        let columns = Columns::new(["Customer ID", "ZIP", "Note", "Amount"]);
        let record = Record {
            row: 2,
            values: vec![
                Some(Value::from("A/1 ü")),
                Some(Value::from("00501")),
                None,
                Some(Value::Number(1.5)),
            ],
        };
        let outputs: Outputs = vec![("tax_due".into(), Value::Number(812.0))];
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &outputs,
        };
        let template = Template::compile(text).map_err(|e| format!("compile: {e}"))?;
        template.render(row).map_err(|e| e.to_string())
    }

    #[test]
    fn templates_are_rendered_with_values() {
        for (text, expected) in [
            ("plain", "plain"),
            ("{{ row['Customer ID'] | urlencode }}", "A%2F1%20%C3%BC"),
            ("{{ row[\"ZIP\"] }}/{{ row.ZIP }}", "00501/00501"),
            (
                "{{ tax_due }} {{ row.tax_due }} {{ row.Amount }}",
                "812 812 1.5",
            ),
            (
                "{\"id\": {{ row['Customer ID'] | tojson }}}",
                "{\"id\": \"A/1 ü\"}",
            ),
            ("{{ 'a&b' }}<", "a&b<"),
            ("{{ '../x~' | urlencode }}{{ 5 | urlencode }}", "..%2Fx~5"),
            ("{% if row.Amount < 2 %}low{% else %}high{% endif %}", "low"),
            ("{% for c in row.ZIP %}{{ c }}.{% endfor %}", "0.0.5.0.1."),
            ("{% set x = row.ZIP %}{{ x }}", "00501"),
            (
                "{% if has(row['Note']) %}{{ row.Note }}{% else %}-{% endif %}",
                "-",
            ),
            (
                "{{ has(tax_due) }}{{ has(row.ZIP) }}{{ has(other) }}",
                "truetruefalse",
            ),
        ] {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn booleans_and_whole_numbers_are_written_as_everywhere_else() {
        let columns = Columns::new(["Yes", "No", "N", "Zero"]);
        let rendered = |n: f64, text: &str| {
            let record = Record {
                row: 2,
                values: vec![
                    Some(Value::Bool(true)),
                    Some(Value::Bool(false)),
                    Some(Value::Number(n)),
                    Some(Value::Number(-0.0)),
                ],
            };
            let row = Row {
                columns: &columns,
                record: &record,
                outputs: &[],
            };
            let rendered = Template::compile(text).map(|template| template.render(row));
            rendered.unwrap().map_err(|e| e.to_string())
        };
        for (text, expected) in [
            ("{{ row.Yes }} {{ row.No }} {{ 1 < 2 }}", "true false true"),
            (
                "{{ row.Yes | urlencode }}{{ row.No | base64 }}",
                "trueZmFsc2U=",
            ),
            ("{{ row.Yes | lower }}{{ row.Yes | upper }}", "trueTRUE"),
            (
                "{{ row.Yes | title }}{{ row.Yes | capitalize }}",
                "TrueTrue",
            ),
            ("{{ row.Yes | trim }}{{ row.No | string }}", "truefalse"),
            ("{{ row.Yes | trim('t') }}", "rue"),
            ("{{ row.Yes | string | length }}", "4"),
            ("{{ row.Yes | replace('t', 'T') }}", "True"),
            ("{{ 'is true' | replace(row.Yes, row.No) }}", "is false"),
            ("{{ [row.Yes, row.No, 1] | join(',') }}", "true,false,1"),
            ("{{ '%s/%s' | format(row.Yes, 5) }}", "true/5"),
            (
                "{{ row.Yes ~ '/' ~ row['No'] ~ has(row.No) ~ true }}",
                "true/falsetruetrue",
            ),
            ("{% set x = row.No %}{{ (x ~ 1) | upper }}", "FALSE1"),
            ("{{ 'a' ~ (row.Yes) ~ 'b' }}", "atrueb"),
            ("{{ row.Yes | tojson }}", "true"),
            ("{% if row.Yes and not row.No %}x{% endif %}", "x"),
            ("{{ row.Zero }}{{ row.Zero | urlencode }}", "00"),
        ] {
            assert_eq!(rendered(1.0, text).as_deref(), Ok(expected), "{text}");
        }
        for (n, expected) in [
            (9_007_199_254_740_991.0, "9007199254740991"),
            (1e16, "10000000000000000"),
            (-1e16, "-10000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1.5, "1.5"),
        ] {
            let text = "{{ row.N }} {{ row.N | urlencode }} {{ row.N ~ '' }}";
            let expected = [expected; 3].join(" ");
            assert_eq!(rendered(n, text).as_deref(), Ok(expected.as_str()));
        }
    }

    #[test]
    fn templates_are_rendered_with_secrets() {
        let columns = Columns::new(["ID"]);
        let record = Record {
            row: 2,
            values: vec![Some(Value::from("7"))],
        };
        let row = Row {
            columns: &columns,
            record: &record,
            outputs: &[],
        };
        let secrets: Secrets = [("KEY", "a/b")].into_iter().collect();
        let text =
            "{{ row.ID }} {{ secret('KEY') | urlencode }} {{ ('u:' ~ secret(\"KEY\")) | base64 }}";
        let template = Template::compile(text).unwrap();
        let rendered = template.render_with(row, &secrets);
        assert_eq!(rendered.as_deref(), Ok("7 a%2Fb dTphL2I="));
        let mentioned: Vec<_> = template
            .secrets()
            .iter()
            .map(|s| &text[s.at.clone()])
            .collect();
        assert_eq!(mentioned, ["secret('KEY')", "secret(\"KEY\")"]);
        let none = template.render(row).unwrap_err();
        assert_eq!(none.to_string(), "secret `KEY` has no value");
    }

    #[test]
    fn using_a_missing_value_is_always_an_error() {
        for text in [
            "{{ row.Note }}",
            "{{ row['Note'] | upper }}",
            "{% if row.Note %}x{% endif %}",
            "{% if row.Note == '' %}x{% endif %}",
            "{% if row.Note != 'a' %}x{% endif %}",
            "{% if row.Note < 5 %}x{% endif %}",
            "{% if not row.Note %}x{% endif %}",
            "{{ row.ZIP ~ row.Note }}",
            "{{ [row.Note] | join }}",
            "{% for c in row.Note %}{% endfor %}",
            "{{ 'x' if row.Note else 'y' }}",
        ] {
            assert_eq!(render(text), Err("`Note` is empty".into()), "{text}");
        }
        assert_eq!(render("{{ owner }}"), Err("`owner` is empty".into()));
        let error = render("/{{ '..' | urlencode }}").unwrap_err();
        assert!(error.contains("would change the path"), "{error}");
    }

    #[test]
    fn templates_that_could_hide_a_column_are_refused() {
        for (text, at, message) in [
            ("a {{ row[x] }}", "row[x]", "must be a literal"),
            ("a {{ row }}", "row", "choose one column"),
            (
                "{{ row.A | default('x') }}",
                "default('x')",
                "unknown filter `default`",
            ),
            (
                "{{ row.A is defined }}",
                "defined",
                "unknown test `is defined`",
            ),
            (
                "{% if row.A == none %}{% endif %}",
                "none",
                "`none` is not supported",
            ),
            ("{{ foo(1) }}", "foo(1)", "unknown function `foo`"),
            ("{{ has(1) }}", "has(1)", "one column"),
            ("{{ row.A", "", "invalid template"),
        ] {
            let error = Template::compile(text).map(|_| ()).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            if !at.is_empty() {
                assert_eq!(&text[error.at.clone()], at, "{text}");
            }
        }
        let error = Template::compile("{{ row.A | urlencod }}").unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean `urlencode`?"));
    }

    #[test]
    fn references_have_their_positions() {
        let text = "é{{ row['A b'] }}{{ x + row.C }}{{ has(row['D']) }}{% for y in z %}{{ y }}{% endfor %}";
        let template = Template::compile(text).unwrap();
        let found: Vec<_> = template
            .references()
            .iter()
            .map(|r| (&*r.name, &text[r.at.clone()]))
            .collect();
        assert_eq!(
            found,
            [
                ("A b", "row['A b']"),
                ("x", "x"),
                ("C", "row.C"),
                ("D", "row['D']"),
                ("z", "z")
            ]
        );
    }

    #[test]
    fn too_deep_nesting_is_refused() {
        let chain = |terms: usize| format!("{{{{ {} }}}}", vec!["1"; terms].join("+"));
        assert_eq!(render(&chain(100)).as_deref(), Ok("100"));
        for text in [
            chain(1000),
            chain(walk::LENGTH_MAX / 2 - 8),
            chain(walk::LENGTH_MAX),
            format!("{{{{ {}1{} }}}}", "(".repeat(2000), ")".repeat(2000)),
            format!("{{{{ {}true }}}}", "not ".repeat(10_000)),
            "{% if true %}".repeat(1300) + &"{% endif %}".repeat(1300),
        ] {
            assert!(Template::compile(&text).is_err(), "{}", &text[..40]);
        }
        let many = "{{ row.ZIP }}".repeat(2000);
        assert_eq!(render(&many).map(|t| t.len()), Ok(10_000));
    }
}
