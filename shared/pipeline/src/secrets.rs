//! The secrets that a pipeline declares.

use rowmill_domain::config::SECRET_PREFIX;
use rowmill_domain::secret::Secrets;

/// Shortest value, in characters: what is shorter stands in many a text by chance, and would be
/// taken out of all of them.
pub const VALUE_MIN: usize = 4;

/// A secret as a pipeline declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// `[A-Z][A-Z0-9_]*`
    pub name: String,
    /// Where AWS Batch finds its value.
    pub from: SecretSource,
}

/// Where AWS Batch finds a secret's value. Names stand below the deployment's own, which is all
/// that it may read: `tax/key` is `<stack>/tax/key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A name in Secrets Manager.
    Manager(String),
    /// A name in Parameter Store; written `ssm:name`.
    Parameter(String),
    /// Any of the two by its ARN, which the deployment must be given leave to read.
    Arn(String),
}

impl SecretSource {
    /// Reads what a pipeline file says; `None` where it is no name and no ARN.
    pub fn parse(text: &str) -> Option<SecretSource> {
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
    /// The variable that holds the value in a child's environment.
    pub fn variable(&self) -> String {
        format!("{SECRET_PREFIX}{}", self.name)
    }

    /// What a job definition of that stack says of it: an ARN, `ssm:/<stack>/name`, or the name in
    /// Secrets Manager.
    pub fn reference(&self, stack: &str) -> String {
        match &self.from {
            SecretSource::Manager(name) => format!("{stack}/{name}"),
            SecretSource::Parameter(name) => format!("ssm:/{stack}/{name}"),
            SecretSource::Arn(arn) => arn.clone(),
        }
    }
}

/// A secret that a pipeline declares and that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSecret {
    /// It has no value.
    #[error("secret {0} has no value: set the environment variable {SECRET_PREFIX}{0}")]
    Missing(String),
    /// Its value is shorter than [`VALUE_MIN`].
    #[error(
        "secret {0} has fewer than {VALUE_MIN} characters, which could not be told from other text: use a longer one"
    )]
    Short(String),
}

/// The values of declared secrets, as far as they can be used, and what is wrong with the others.
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
            let from = SecretSource::parse(text).unwrap();
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
            assert_eq!(SecretSource::parse(text), None, "{text}");
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
