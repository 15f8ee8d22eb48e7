//! The name of a pipeline.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::PIPELINE_NAME_MAX;

/// The name of a pipeline: `[a-z0-9][a-z0-9-]{0,31}`. It is the folder in the inbox, the file name of
/// the pipeline without extension, and part of every run id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PipelineName(pub(crate) String);

/// The text is not a valid name of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a pipeline name: use lower-case letters, digits and `-`, at most {PIPELINE_NAME_MAX}"
)]
pub struct PipelineNameError(String);

impl PipelineName {
    /// Whether a text is a valid name.
    pub fn is_valid(text: &str) -> bool {
        (1..=PIPELINE_NAME_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
    }

    /// Derives a name from any text: lower case, one `-` for every run of other characters, cut to
    /// the longest name allowed; `pipeline` if nothing is left.
    pub fn slug(text: &str) -> PipelineName {
        let mut name = String::new();
        for c in text.chars().flat_map(char::to_lowercase) {
            if c.is_ascii_alphanumeric() {
                name.push(c);
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
        }
        name.truncate(PIPELINE_NAME_MAX);
        match name.trim_end_matches('-') {
            "" => PipelineName("pipeline".to_owned()),
            name => PipelineName(name.to_owned()),
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PipelineName {
    type Err = PipelineNameError;
    fn from_str(text: &str) -> Result<PipelineName, PipelineNameError> {
        PipelineName::try_from(text.to_owned())
    }
}

impl TryFrom<String> for PipelineName {
    type Error = PipelineNameError;
    fn try_from(text: String) -> Result<PipelineName, PipelineNameError> {
        match PipelineName::is_valid(&text) {
            true => Ok(PipelineName(text)),
            false => Err(PipelineNameError(text)),
        }
    }
}

impl From<PipelineName> for String {
    fn from(name: PipelineName) -> String {
        name.0
    }
}

impl fmt::Display for PipelineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_letters_digits_and_inner_hyphens_name_a_pipeline() {
        let longest = "a".repeat(PIPELINE_NAME_MAX);
        for name in ["a", "0", "tax-sale-2", longest.as_str()] {
            assert_eq!(name.parse::<PipelineName>().unwrap().as_str(), name);
        }
        let longer = "a".repeat(PIPELINE_NAME_MAX + 1);
        for bad in ["", "-a", "Tax", "a b", "a/b", "ü", longer.as_str()] {
            assert!(bad.parse::<PipelineName>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<PipelineName>("\"Bad Name\"").is_err());
    }

    #[test]
    fn any_text_gives_a_valid_name() {
        for (text, name) in [
            ("reviews", "reviews"),
            ("Tax Due (2026)", "tax-due-2026"),
            ("_x__y_", "x-y"),
            ("日本", "pipeline"),
            ("", "pipeline"),
            (
                "a-very-long-name-that-goes-on-and-on-and-on",
                "a-very-long-name-that-goes-on-an",
            ),
        ] {
            assert_eq!(PipelineName::slug(text).as_str(), name);
            assert!(PipelineName::is_valid(name));
        }
    }
}
