//! Values from the environment, read by their names in [`crate::config`].

use std::fmt::Display;
use std::str::FromStr;

/// The variables that a `main.rs` hands on. A variable set to nothing but spaces is absent: a
/// deployment sets an optional one to the empty text.
pub struct Environment {
    get: Box<Get>,
}

type Get = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A variable that does not say what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// It is absent.
    #[error("{0} is not set")]
    Absent(String),
    /// Its value cannot be read.
    #[error("{name} cannot be `{value}`: {why}")]
    Unreadable {
        /// The variable.
        name: String,
        /// What it is.
        value: String,
        /// What is wrong with that.
        why: String,
    },
}

impl Environment {
    /// An environment that is looked up by that function.
    pub fn new(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Environment {
        Environment { get: Box::new(get) }
    }

    /// A variable that may be absent.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.trim().is_empty())
    }

    /// A variable that must be there.
    pub fn text(&self, name: &str) -> Result<String, VariableError> {
        self.optional(name)
            .ok_or_else(|| VariableError::Absent(name.to_owned()))
    }

    /// The value of a variable that must be there.
    pub fn value<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, VariableError> {
        self.optional_value(name)?
            .ok_or_else(|| VariableError::Absent(name.to_owned()))
    }

    /// The value of a variable that may be absent.
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

    /// The texts of a variable with commas between them; none where it is absent.
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
    fn values_are_read() {
        let environment = environment();
        assert_eq!(environment.value::<u32>("N"), Ok(7));
        assert_eq!(environment.list("LIST"), ["a", "b", "c"]);
        assert_eq!(environment.optional("EMPTY"), None);
        assert_eq!(environment.optional_value::<u32>("EMPTY"), Ok(None));
        assert!(environment.list("NONE").is_empty());
    }

    #[test]
    fn errors_name_the_variable_and_what_it_is() {
        let environment = environment();
        let absent = environment.text("EMPTY").unwrap_err().to_string();
        assert_eq!(absent, "EMPTY is not set");
        let wrong = environment.value::<u32>("LIST").unwrap_err().to_string();
        assert_eq!(
            wrong,
            "LIST cannot be `a, b,,c `: invalid digit found in string"
        );
    }
}
