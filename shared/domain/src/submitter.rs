//! Who submits workbooks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::ADDRESS_MAX;

/// The address of a person who submits workbooks, in lower case. Runs, results and a tier belong to it.
///
/// It is not checked whether mail can be sent to it, only that it is one address: `ada@example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Submitter(String);

/// The text is not the address of a submitter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address of a submitter: write one such as ada@example.com")]
pub struct SubmitterError(String);

impl Submitter {
    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Submitter {
    type Err = SubmitterError;
    /// Reads an address. Spaces around it are ignored, and so is a name before it: `Ada <ada@example.com>`.
    fn from_str(text: &str) -> Result<Submitter, SubmitterError> {
        let address = text.trim();
        let inner = address.strip_suffix('>').and_then(|t| t.rsplit_once('<'));
        let address = inner.map_or(address, |(_, address)| address).to_lowercase();
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>,;\"".contains(c);
        let parts = address.rsplit_once('@');
        let both = parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        match both && address.len() <= ADDRESS_MAX && address.chars().all(plain) {
            true => Ok(Submitter(address)),
            false => Err(SubmitterError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Submitter {
    type Error = SubmitterError;
    fn try_from(text: String) -> Result<Submitter, SubmitterError> {
        text.parse()
    }
}

impl From<Submitter> for String {
    fn from(submitter: Submitter) -> String {
        submitter.0
    }
}

impl fmt::Display for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_is_one_submitter_however_the_address_is_written() {
        for text in [
            "ada@example.com",
            " Ada@Example.COM ",
            "Ada Lovelace <ADA@example.com>",
        ] {
            assert_eq!(
                text.parse::<Submitter>().unwrap().as_str(),
                "ada@example.com"
            );
        }
        let json = serde_json::to_string(&"Ada@x.de".parse::<Submitter>().unwrap()).unwrap();
        assert_eq!(json, "\"ada@x.de\"");
        assert!(serde_json::from_str::<Submitter>("\"ada\"").is_err());
    }

    #[test]
    fn what_is_not_one_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(ADDRESS_MAX));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a b@x.de",
            "a@x.de,b@x.de",
            "a\n@x.de",
            &long,
        ] {
            assert!(text.parse::<Submitter>().is_err(), "{text}");
        }
    }
}
