//! Secrets: a pipeline names them, the environment of a child holds their values, and nothing
//! that is kept or told does.

mod redact;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use crate::config::SECRET_PREFIX;
use crate::pipeline::Pipeline;

/// Shortest value, in characters: what is shorter stands in many a text by chance, and would be
/// taken out of all of them.
pub const VALUE_MIN: usize = 4;

/// A secret as a pipeline declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// `[A-Z][A-Z0-9_]*`
    pub name: String,
    /// Where AWS Batch finds its value.
    pub from: SecretFrom,
}

/// Where AWS Batch finds a secret's value. Names stand below the deployment's own, which is all
/// that it may read: `tax/key` is `<stack>/tax/key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// A name in Secrets Manager.
    Manager(String),
    /// A name in Parameter Store; written `ssm:name`.
    Parameter(String),
    /// Any of the two by its ARN, which the deployment must be given leave to read.
    Arn(String),
}

/// Whether a text can name a secret: `[A-Z][A-Z0-9_]*`, at most 64 characters.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

impl SecretFrom {
    /// Reads what a pipeline file says; `None` where it is no name and no ARN.
    pub fn parse(text: &str) -> Option<SecretFrom> {
        // Source: Secrets Manager API, CreateSecret, and SSM API, PutParameter: the letters that
        // both take.
        let is_path = |path: &str| {
            let part = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            let parts = || path.split('/');
            path.len() <= 512 && parts().all(|p| !p.is_empty() && p.chars().all(part))
        };
        if text.starts_with("arn:") {
            let service = text.split(':').nth(2);
            let known = matches!(service, Some("secretsmanager" | "ssm"));
            return (known && !text.contains(char::is_whitespace))
                .then(|| SecretFrom::Arn(text.to_owned()));
        }
        match text.strip_prefix("ssm:") {
            Some(name) => {
                let name = name.trim_start_matches('/');
                is_path(name).then(|| SecretFrom::Parameter(name.to_owned()))
            }
            None => is_path(text).then(|| SecretFrom::Manager(text.to_owned())),
        }
    }
}

impl Secret {
    /// The variable that holds the value in a child's environment.
    pub fn variable(&self) -> String {
        format!("{SECRET_PREFIX}{}", self.name)
    }

    /// What a job definition of that stack says of it: an ARN, `ssm:/<stack>/name`, or the name in
    /// Secrets Manager.
    pub fn reference(&self, stack: &str) -> String {
        match &self.from {
            SecretFrom::Manager(name) => format!("{stack}/{name}"),
            SecretFrom::Parameter(name) => format!("ssm:/{stack}/{name}"),
            SecretFrom::Arn(arn) => arn.clone(),
        }
    }
}

/// The `valueFrom` of AWS Batch for a [`Secret::reference`]. Source: AWS Batch API, Secret: the
/// ARN of a secret, or of a parameter, or the name of a parameter of the same Region.
pub fn value_from(reference: &str, partition: &str, region: &str, account: &str) -> String {
    if reference.starts_with("arn:") {
        reference.to_owned()
    } else if let Some(parameter) = reference.strip_prefix("ssm:") {
        parameter.to_owned()
    } else {
        format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{reference}")
    }
}

/// Values of secrets by name. Shown and logged by name alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

/// A secret that a pipeline declares and that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It has no value.
    #[error("secret {0} has no value: set the environment variable {SECRET_PREFIX}{0}")]
    Missing(String),
    /// Its value is shorter than [`VALUE_MIN`].
    #[error(
        "secret {0} has fewer than {VALUE_MIN} characters, which could not be told from other text: use a longer one"
    )]
    Short(String),
}

impl Secrets {
    /// Those of an environment: the variables that start with [`SECRET_PREFIX`].
    pub fn of_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Secrets {
        let named = |(name, value): (OsString, OsString)| {
            let name = name.to_str()?.strip_prefix(SECRET_PREFIX)?.to_owned();
            is_name(&name).then_some((name, value.into_string().ok()?))
        };
        Secrets(variables.into_iter().filter_map(named).collect())
    }

    /// Those that a pipeline declares and that can be used, and what is wrong with the others.
    pub fn declared(&self, pipeline: &Pipeline) -> (Secrets, Vec<Unusable>) {
        let (mut usable, mut wrong) = (BTreeMap::new(), Vec::new());
        for Secret { name, .. } in &pipeline.secrets {
            match self.0.get(name) {
                None => wrong.push(Unusable::Missing(name.clone())),
                Some(value) if value.chars().count() < VALUE_MIN => {
                    wrong.push(Unusable::Short(name.clone()));
                }
                Some(value) => {
                    usable.insert(name.clone(), value.clone());
                }
            }
        }
        (Secrets(usable), wrong)
    }

    /// A secret's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with `[secret NAME]` wherever a value stands: as it is, percent-encoded, escaped
    /// for JSON or HTML, or within base64, as in Basic authentication; also where the text was
    /// cut short by `...` in the middle of one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_value_is_found() {
        for (text, reference, value) in [
            (
                "tax/api-key",
                "prod/tax/api-key",
                "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/tax/api-key",
            ),
            ("ssm:tax", "ssm:/prod/tax", "/prod/tax"),
            ("ssm:/tax/key", "ssm:/prod/tax/key", "/prod/tax/key"),
            (
                "arn:aws:ssm:eu-central-1:123456789012:parameter/x",
                "arn:aws:ssm:eu-central-1:123456789012:parameter/x",
                "arn:aws:ssm:eu-central-1:123456789012:parameter/x",
            ),
        ] {
            let from = SecretFrom::parse(text).unwrap();
            let name = "KEY".to_owned();
            let told = Secret { name, from }.reference("prod");
            assert_eq!(told, reference);
            assert_eq!(
                value_from(&told, "aws", "eu-central-1", "123456789012"),
                value
            );
        }
        for text in [
            "",
            "/x",
            "a//b",
            "../x y",
            "ssm:",
            "arn:aws:s3:::bucket",
            "a:b",
        ] {
            assert_eq!(SecretFrom::parse(text), None, "{text}");
        }
    }

    #[test]
    fn those_of_the_environment_that_the_pipeline_declares() {
        let pipeline =
            Pipeline::parse("p.toml", "secrets = [\"KEY\", \"PIN\", \"ABSENT\"]").unwrap();
        let variables = [
            ("ROWMILL_SECRET_KEY", "s3cret-value"),
            ("ROWMILL_SECRET_PIN", "123"),
            ("ROWMILL_SECRET_OTHER", "not declared"),
            ("ROWMILL_SECRET_lower", "no name"),
            ("KEY", "no secret"),
        ];
        let variables = variables.map(|(n, v)| (n.into(), v.into()));
        let all = Secrets::of_environment(variables);
        let (usable, wrong) = all.declared(&pipeline);
        assert_eq!(usable.iter().collect::<Vec<_>>(), [("KEY", "s3cret-value")]);
        assert_eq!(
            wrong,
            [
                Unusable::Short("PIN".into()),
                Unusable::Missing("ABSENT".into())
            ]
        );
        assert!(wrong[1].to_string().contains("ROWMILL_SECRET_ABSENT"));
        assert_eq!(format!("{all:?}"), r#"{"KEY", "OTHER", "PIN"}"#);
    }
}
