//! The secrets that a pipeline declares.

use rowmill_domain::config::SECRET_PREFIX;
use rowmill_domain::secret::Secrets;

/// The shortest usable value, in characters. A shorter one occurs in other text by chance and would be
/// redacted there.
pub const VALUE_MIN: usize = 4;

/// A declared secret: its name, and where AWS Batch finds the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The name, `[A-Z][A-Z0-9_]*`.
    pub name: String,
    /// Where AWS Batch finds the value.
    pub from: SecretSource,
}

/// Where AWS Batch finds the value of a secret. Names are relative to the deployment, which can read
/// only its own: `tax/key` is `<stack>/tax/key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A name in Secrets Manager.
    Manager(String),
    /// A name in Parameter Store, written `ssm:name`.
    Parameter(String),
    /// The ARN of either kind. The deployment needs permission to read it.
    Arn(String),
}

impl SecretSource {
    /// Parses the text in a pipeline file. `None`: it is neither a valid name nor an ARN.
    pub fn parse(text: &str) -> Option<SecretSource> {
        // The characters that both services accept. Source: Secrets Manager API, CreateSecret, and
        // SSM API, PutParameter.
        let is_path = |path: &str| {
            let part = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            let parts = || path.split('/');
            path.len() <= 512 && parts().all(|p| !p.is_empty() && p.chars().all(part))
        };
        if text.starts_with("arn:") {
            let service = text.split(':').nth(2);
            let known = matches!(service, Some("secretsmanager" | "ssm"));
            return (known && !text.contains(char::is_whitespace))
                .then(|| SecretSource::Arn(text.to_owned()));
        }
        match text.strip_prefix("ssm:") {
            Some(name) => {
                let name = name.trim_start_matches('/');
                is_path(name).then(|| SecretSource::Parameter(name.to_owned()))
            }
            None => is_path(text).then(|| SecretSource::Manager(text.to_owned())),
        }
    }
}

impl Secret {
    /// Returns the environment variable of a child that holds the value.
    pub fn variable(&self) -> String {
        format!("{SECRET_PREFIX}{}", self.name)
    }

    /// Returns the reference in a job definition of `stack`: an ARN, `ssm:/<stack>/name`, or the name
    /// in Secrets Manager. [`rowmill_domain::job::value_from`] converts it for AWS Batch.
    pub fn reference(&self, stack: &str) -> String {
        match &self.from {
            SecretSource::Manager(name) => format!("{stack}/{name}"),
            SecretSource::Parameter(name) => format!("ssm:/{stack}/{name}"),
            SecretSource::Arn(arn) => arn.clone(),
        }
    }
}

/// Why a declared secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSecret {
    /// The environment has no value.
    #[error("secret {0} has no value: set the environment variable {SECRET_PREFIX}{0}")]
    Missing(String),
    /// The value is shorter than [`VALUE_MIN`].
    #[error(
        "secret {0} has fewer than {VALUE_MIN} characters, too few to recognize it in other text: use a longer value"
    )]
    Short(String),
}

/// See [`crate::Pipeline::secret_values`].
pub(crate) fn usable(declared: &[Secret], all: &Secrets) -> (Secrets, Vec<UnusableSecret>) {
    let (mut usable, mut wrong) = (Vec::new(), Vec::new());
    for Secret { name, .. } in declared {
        match all.get(name) {
            None => wrong.push(UnusableSecret::Missing(name.clone())),
            Some(value) if value.chars().count() < VALUE_MIN => {
                wrong.push(UnusableSecret::Short(name.clone()));
            }
            Some(value) => usable.push((name, value)),
        }
    }
    (usable.into_iter().collect(), wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_domain::job::value_from;

    use crate::Pipeline;

    #[test]
    fn locations_become_references_for_aws_batch() {
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
            let from = SecretSource::parse(text).unwrap();
            let name = "KEY".to_owned();
            let made = Secret { name, from }.reference("prod");
            assert_eq!(made, reference);
            assert_eq!(
                value_from(&made, "aws", "eu-central-1", "123456789012"),
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
            assert_eq!(SecretSource::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_declared_secrets_with_long_enough_values_are_usable() {
        let pipeline =
            Pipeline::parse("p.toml", "secrets = [\"KEY\", \"PIN\", \"ABSENT\"]").unwrap();
        let variables = [
            ("ROWMILL_SECRET_KEY", "s3cret-value"),
            ("ROWMILL_SECRET_PIN", "123"),
            ("ROWMILL_SECRET_OTHER", "not declared"),
            ("ROWMILL_SECRET_lower", "no name"),
            ("KEY", "not a secret"),
        ];
        let variables = variables.map(|(n, v)| (n.into(), v.into()));
        let all = Secrets::from_environment(variables);
        let (usable, wrong) = pipeline.secret_values(&all);
        assert_eq!(usable.iter().collect::<Vec<_>>(), [("KEY", "s3cret-value")]);
        assert_eq!(
            wrong,
            [
                UnusableSecret::Short("PIN".into()),
                UnusableSecret::Missing("ABSENT".into())
            ]
        );
        assert!(wrong[1].to_string().contains("ROWMILL_SECRET_ABSENT"));
        assert_eq!(format!("{all:?}"), r#"{"KEY", "OTHER", "PIN"}"#);
    }
}
