//! `[parameters]`: texts for arguments of programs, fixed by the pipeline or given by an upload.

use regex::Regex;
use rowmill_domain::manifest::ParameterValues;
use rowmill_domain::value::{Kind, Value};

use crate::names::suggest;

/// An entry of `[parameters]`.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub from: ParameterSource,
}

/// Where a parameter's value comes from.
#[derive(Clone, Debug)]
pub enum ParameterSource {
    /// The pipeline: no upload changes it.
    Pipeline(String),
    /// The upload.
    Upload {
        /// Its value where an upload gives none; `None` where each must.
        default: Option<String>,
        /// What a value may be.
        form: ParameterRule,
    },
}

/// What a value of a parameter may be.
#[derive(Clone, Debug)]
pub struct ParameterRule {
    /// Its type.
    pub kind: Kind,
    /// What all of it matches.
    pub matches: Option<Regex>,
}

impl ParameterRule {
    /// That a value is of this form; else why not, as `it is no number`. Whoever may upload gives
    /// values, so what a program could take for one of its options is refused unless the form
    /// allows for it.
    pub(crate) fn check(&self, value: &str) -> Result<(), String> {
        if value.trim().is_empty() {
            return Err("it is empty".to_owned());
        }
        if value.chars().any(char::is_control) {
            return Err("it has a control character".to_owned());
        }
        if self.kind != Kind::Text && Value::parse(value, self.kind).is_none() {
            return Err(format!("it is no {}", self.kind));
        }
        match &self.matches {
            // The groups that make it match the whole are not the author's.
            Some(matches) if !matches.is_match(value) => Err(format!(
                "it does not match `{}`",
                pattern(matches).unwrap_or_default()
            )),
            None if self.kind == Kind::Text && value.starts_with('-') => Err(
                "it begins with `-`, as options of programs do, and no `matches` of the pipeline allows that"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

const BEGIN: &str = r"\A(?:";
const END: &str = r")\z";

/// The expression that matches where `pattern` matches the whole of a text.
pub(crate) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // Alone first: its parentheses must be its own.
    Regex::new(pattern)?;
    Regex::new(&format!("{BEGIN}{pattern}{END}"))
}

/// The pattern that [`whole`] was given.
fn pattern(whole: &Regex) -> Option<&str> {
    whole.as_str().strip_prefix(BEGIN)?.strip_suffix(END)
}

/// Whether an upload may give a parameter of this name: S3 turns the names of metadata to lower
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
                "the parameter `{name}` is fixed by the pipeline; `{name} = {{ default = \"..\" }}` lets uploads give it"
            )),
            None => {
                let names = parameters.iter().map(|p| p.name.as_str());
                let help = suggest(name, names);
                let help = help.unwrap_or_else(|| "the pipeline has none".to_owned());
                wrong.push(format!("there is no parameter `{name}`; {help}"));
            }
        }
    }
    let mut values = ParameterValues::new();
    for Parameter { name, from } in parameters {
        let ParameterSource::Upload { default, form } = from else {
            continue;
        };
        let Some(value) = given.get(name).or(default.as_ref()) else {
            wrong.push(format!(
                "the parameter `{name}` has no value, and no default"
            ));
            continue;
        };
        match form.check(value) {
            Ok(()) => {
                values.insert(name.clone(), value.clone());
            }
            Err(why) => {
                wrong.push(format!("the parameter `{name}` cannot be `{value}`: {why}"));
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
    fn an_upload_gives_what_has_no_default_and_may_give_the_rest() {
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
    fn what_cannot_be_meant_is_told_all_at_once() {
        let wrong = values(&[
            ("limit", "half"),
            ("mode", "lax"),
            ("mont", "2026-02"),
            ("month", "2026-02x"),
        ]);
        assert_eq!(
            wrong.unwrap_err(),
            [
                "the parameter `mode` is fixed by the pipeline; `mode = { default = \"..\" }` lets uploads give it",
                "there is no parameter `mont`; did you mean `month`?",
                "the parameter `table` has no value, and no default",
                "the parameter `limit` cannot be `half`: it is no number",
                "the parameter `month` cannot be `2026-02x`: it does not match `[0-9]{4}-[0-9]{2}|all`",
            ]
        );
        for (value, why) in [
            ("--delete", "begins with `-`"),
            ("", "is empty"),
            ("a\nb", "a control character"),
        ] {
            let wrong = values(&[("table", value)]).unwrap_err();
            assert!(wrong[0].contains(why), "{wrong:?}");
        }
    }
}
