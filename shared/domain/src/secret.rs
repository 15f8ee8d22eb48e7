//! The values of secrets. The environment of a child holds them; they are removed from everything that
//! is stored or shown.

mod redact;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use crate::config::SECRET_PREFIX;

/// Whether a text is a valid name of a secret: `[A-Z][A-Z0-9_]*`, at most 64 characters.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The values of secrets, by name. `Debug` shows only the names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Collects the variables of an environment that start with [`SECRET_PREFIX`].
    pub fn from_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Secrets {
        let named = |(name, value): (OsString, OsString)| {
            let name = name.to_str()?.strip_prefix(SECRET_PREFIX)?.to_owned();
            is_name(&name).then_some((name, value.into_string().ok()?))
        };
        Secrets(variables.into_iter().filter_map(named).collect())
    }

    /// Returns the value of a secret.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether there are no secrets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces every value in a text by `[secret NAME]`: plain, percent-encoded, escaped for JSON or
    /// HTML, or inside base64, as in Basic authentication; also a value that is truncated by `...`.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        redact::redact(self, text)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Secrets {
        let pairs = pairs.into_iter().map(|(n, v)| (n.into(), v.into()));
        Secrets(pairs.collect())
    }
}
