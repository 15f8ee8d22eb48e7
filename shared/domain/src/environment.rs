//! Reads environment variables by their names in [`crate::config`].

use std::fmt::Display;
use std::str::FromStr;

/// The environment that a `main.rs` passes on. A variable that is empty or only spaces counts as
/// absent, because a deployment sets unused optional variables to the empty text.
pub struct Environment {
    get: Box<Get>,
}

type Get = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A variable that is missing or invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The variable is not set.
    #[error("{0} is not set")]
    Absent(String),
    /// The value cannot be parsed.
    #[error("invalid value `{value}` for {name}: {why}")]
    Unreadable {
        /// The name of the variable.
        name: String,
        /// The value.
        value: String,
        /// Why it is invalid.
        why: String,
    },
}

impl Environment {
    /// Creates an environment that looks variables up with `get`.
    pub fn new(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Environment {
        Environment { get: Box::new(get) }
    }

    /// Returns the text of an optional variable.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.trim().is_empty())
    }

    /// Returns the text of a required variable.
    pub fn text(&self, name: &str) -> Result<String, VariableError> {
        self.optional(name)
            .ok_or_else(|| VariableError::Absent(name.to_owned()))
    }

    /// Parses a required variable.
    pub fn value<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, VariableError> {
        self.optional_value(name)?
            .ok_or_else(|| VariableError::Absent(name.to_owned()))
    }

    /// Parses an optional variable.
    pub fn optional_value<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, VariableError> {
        let Some(text) = self.optional(name) else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(why) => Err(VariableError::Unreadable {
                name: name.to_owned(),
                value: text,
                why: why.to_string(),
            }),
        }
    }

    /// Returns the comma-separated texts of a variable; empty if it is absent.
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.optional(name).unwrap_or_default();
        let texts = text.split(',').map(str::trim).filter(|t| !t.is_empty());
        texts.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::new(|name| match name {
            "N" => Some(" 7 ".into()),
            "LIST" => Some("a, b,,c ".into()),
            "EMPTY" => Some(" ".into()),
            _ => None,
        })
    }

    #[test]
    fn values_are_parsed_and_blank_ones_are_absent() {
        let environment = environment();
        assert_eq!(environment.value::<u32>("N"), Ok(7));
        assert_eq!(environment.list("LIST"), ["a", "b", "c"]);
        assert_eq!(environment.optional("EMPTY"), None);
        assert_eq!(environment.optional_value::<u32>("EMPTY"), Ok(None));
        assert!(environment.list("NONE").is_empty());
    }

    #[test]
    fn errors_name_the_variable_and_its_value() {
        let environment = environment();
        let absent = environment.text("EMPTY").unwrap_err().to_string();
        assert_eq!(absent, "EMPTY is not set");
        let wrong = environment.value::<u32>("LIST").unwrap_err().to_string();
        assert_eq!(
            wrong,
            "invalid value `a, b,,c ` for LIST: invalid digit found in string"
        );
    }
}
