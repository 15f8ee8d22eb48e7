//! `[parameters]`: values for the arguments of programs, fixed by the pipeline or set by an upload.

use regex::Regex;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::value::{Kind, Value};

use crate::names::suggest;

/// An entry of `[parameters]`.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The name: metadata `parameter-<name>` of an upload, `Ref::<name>` in an argument.
    pub name: String,
    /// Where the value comes from.
    pub from: ParameterSource,
}

/// Where the value of a parameter comes from.
#[derive(Clone, Debug)]
pub enum ParameterSource {
    /// The pipeline fixes the value.
    Pipeline(String),
    /// Each upload can set the value.
    Upload {
        /// The value if an upload does not set one. `None`: every upload must set it.
        default: Option<String>,
        /// Which values are valid.
        rule: ParameterRule,
    },
}

/// Which values of a parameter are valid.
#[derive(Clone, Debug)]
pub struct ParameterRule {
    /// The type of the value.
    pub kind: Kind,
    /// A pattern that the whole value must match.
    pub matches: Option<Regex>,
}

impl ParameterRule {
    /// Checks a value. The error completes a sentence, such as `it is not a number`. Anyone who can
    /// upload sets values, so a value that a program could take for an option is refused unless
    /// `matches` allows it.
    pub(crate) fn check(&self, value: &str) -> Result<(), String> {
        if value.trim().is_empty() {
            return Err("it is empty".to_owned());
        }
        if value.chars().any(char::is_control) {
            return Err("it contains a control character".to_owned());
        }
        if self.kind != Kind::Text && Value::parse(value, self.kind).is_none() {
            return Err(format!("it is not a {}", self.kind));
        }
        match &self.matches {
            // Show the pattern as the author wrote it, without the anchors.
            Some(matches) if !matches.is_match(value) => Err(format!(
                "it does not match `{}`",
                pattern(matches).unwrap_or_default()
            )),
            None if self.kind == Kind::Text && value.starts_with('-') => Err(
                "it starts with `-` like an option of a program; allow this with `matches` in the pipeline"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

const BEGIN: &str = r"\A(?:";
const END: &str = r")\z";

/// Compiles a pattern so that it matches only a whole value.
pub(crate) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // Compiled alone first: unbalanced parentheses must not pair with the added ones.
    Regex::new(pattern)?;
    Regex::new(&format!("{BEGIN}{pattern}{END}"))
}

/// Returns the pattern that was passed to [`whole`].
fn pattern(whole: &Regex) -> Option<&str> {
    whole.as_str().strip_prefix(BEGIN)?.strip_suffix(END)
}

/// Whether an upload can set a parameter with this name. S3 converts the names of metadata to lower
/// case.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// See [`crate::Pipeline::parameter_values`].
pub(crate) fn values(
    parameters: &[Parameter],
    given: &ParameterValues,
) -> Result<ParameterValues, Vec<String>> {
    let mut wrong = Vec::new();
    for name in given.keys() {
        let found = parameters.iter().find(|p| p.name == *name);
        match found.map(|p| &p.from) {
            Some(ParameterSource::Upload { .. }) => {}
            Some(ParameterSource::Pipeline(_)) => wrong.push(format!(
                "the pipeline fixes the parameter `{name}`; with `{name} = {{ default = \"..\" }}` uploads can set it"
            )),
            None => {
                let names = parameters.iter().map(|p| p.name.as_str());
                let help = suggest(name, names);
                let help = help.unwrap_or_else(|| "the pipeline has no parameters".to_owned());
                wrong.push(format!("unknown parameter `{name}`; {help}"));
            }
        }
    }
    let mut values = ParameterValues::new();
    for Parameter { name, from } in parameters {
        let ParameterSource::Upload { default, rule } = from else {
            continue;
        };
        let Some(value) = given.get(name).or(default.as_ref()) else {
            wrong.push(format!(
                "the parameter `{name}` has no value and no default"
            ));
            continue;
        };
        match rule.check(value) {
            Ok(()) => {
                values.insert(name.clone(), value.clone());
            }
            Err(why) => {
                wrong.push(format!(
                    "invalid value `{value}` for the parameter `{name}`: {why}"
                ));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(values),
        false => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use crate::Pipeline;

    const PIPELINE: &str = r#"
[parameters]
mode = "strict"
table = {}
limit = { default = "0.5", type = "number" }
month = { default = "2026-01", matches = "[0-9]{4}-[0-9]{2}|all" }
offset = { default = "1", matches = "-?[0-9]+" }
"#;

    fn values(given: &[(&str, &str)]) -> Result<Vec<(String, String)>, Vec<String>> {
        let given = given
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let pipeline = Pipeline::parse("p.toml", PIPELINE).unwrap();
        let values = pipeline.parameter_values(&given.collect())?;
        Ok(values.into_iter().collect())
    }

    #[test]
    fn uploads_must_set_parameters_without_default_and_can_set_the_others() {
        let pairs = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect()
        };
        let least = values(&[("table", "orders")]).unwrap();
        let defaults = [
            ("limit", "0.5"),
            ("month", "2026-01"),
            ("offset", "1"),
            ("table", "orders"),
        ];
        assert_eq!(least, pairs(&defaults));
        let all = [
            ("limit", "-2e3"),
            ("month", "all"),
            ("offset", "-7"),
            ("table", "a b"),
        ];
        assert_eq!(values(&all).unwrap(), pairs(&all));
    }

    #[test]
    fn all_invalid_parameters_are_reported_at_once() {
        let wrong = values(&[
            ("limit", "half"),
            ("mode", "lax"),
            ("mont", "2026-02"),
            ("month", "2026-02x"),
        ]);
        assert_eq!(
            wrong.unwrap_err(),
            [
                "the pipeline fixes the parameter `mode`; with `mode = { default = \"..\" }` uploads can set it",
                "unknown parameter `mont`; did you mean `month`?",
                "the parameter `table` has no value and no default",
                "invalid value `half` for the parameter `limit`: it is not a number",
                "invalid value `2026-02x` for the parameter `month`: it does not match `[0-9]{4}-[0-9]{2}|all`",
            ]
        );
        for (value, why) in [
            ("--delete", "starts with `-`"),
            ("", "is empty"),
            ("a\nb", "a control character"),
        ] {
            let wrong = values(&[("table", value)]).unwrap_err();
            assert!(wrong[0].contains(why), "{wrong:?}");
        }
    }
}
