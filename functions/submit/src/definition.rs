//! Job definitions: what all jobs of a stage share.

use std::collections::BTreeMap;

use rowmill_domain::config::{ROWMILL_FETCH_BUCKETS, ROWMILL_STACK, ROWMILL_WORK_BUCKET};
use rowmill_domain::job::{EvaluateOnExit, ExitAction, JobDefinition, RetryStrategy};
use rowmill_domain::limits::{ATTEMPT_SECONDS_MIN, ATTEMPTS_MAX};
use rowmill_domain::pipeline::Batch;
use rowmill_domain::secret::Secret;

use crate::SubmitConfig;

/// The definition of a stage whose container has that image, named
/// `<stack>-<12 hex of a hash of all that is in it>`: the same content has the same name.
pub fn definition(
    config: &SubmitConfig,
    image: &str,
    batch: &Batch,
    secrets: &[Secret],
) -> JobDefinition {
    let SubmitConfig {
        stack,
        work_bucket,
        fetch_buckets,
        ..
    } = config;
    let mut environment = BTreeMap::from([
        (ROWMILL_STACK.to_owned(), stack.clone()),
        (ROWMILL_WORK_BUCKET.to_owned(), work_bucket.clone()),
    ]);
    if !fetch_buckets.is_empty() {
        environment.insert(ROWMILL_FETCH_BUCKETS.to_owned(), fetch_buckets.join(","));
    }
    let mut definition = JobDefinition {
        name: String::new(),
        image: image.to_owned(),
        // The image's entry point is enrich; which slice it works on says the environment.
        command: Vec::new(),
        vcpu: batch.vcpu,
        memory_mib: batch.memory_mib,
        environment,
        secrets: secrets
            .iter()
            .map(|secret| (secret.variable(), secret.reference(stack)))
            .collect(),
        retry: retry_strategy(batch.attempts),
        timeout_seconds: Some(batch.timeout_seconds.max(ATTEMPT_SECONDS_MIN)),
    };
    // Strings, numbers and ordered maps: this cannot fail, and an empty text would only mean that
    // all definitions share a name.
    let content = serde_json::to_vec(&definition).unwrap_or_default();
    let hash = blake3::hash(&content).to_hex();
    definition.name = format!("{stack}-{}", &hash[..12]);
    definition
}

/// When a child is tried again. The first rule that matches decides.
///
/// | rule | what it stands for |
/// |---|---|
/// | status reason `Host EC2*` | the EC2 host was lost or reclaimed: retry |
/// | status reason `Your Spot Task was interrupted*` | Fargate took its spare capacity back: retry |
/// | reason `Cannot*` | the container could not be pulled, created or started: retry |
/// | exit code `1*` | 137 killed, 143 interrupted ([`INTERRUPTED`]), 175 a service failed ([`UNAVAILABLE`]), 101 a crash of the program: retry, a child resumes at the records that have no outcome yet |
/// | reason `*` | all else, among it exit code 2 ([`MISCONFIGURED`]): never |
///
/// A child that exits by itself has no reason, and the last rule takes it all the same: AWS gives
/// `onReason: "*"` as the final rule that "matches all other job failures and exits".
///
/// Source of that: AWS CloudFormation, AWS::Batch::JobDefinition RetryStrategy, "Retrying jobs", and
/// AWS Batch user guide, "Automated job retries"; of the texts: the same, and Amazon ECS, "Stopped
/// tasks error messages". Batch does not retry what was terminated or ran out of its time limit.
///
/// [`INTERRUPTED`]: rowmill_domain::config::child_exit::INTERRUPTED
/// [`MISCONFIGURED`]: rowmill_domain::config::child_exit::MISCONFIGURED
/// [`UNAVAILABLE`]: rowmill_domain::config::child_exit::UNAVAILABLE
pub fn retry_strategy(attempts: u32) -> RetryStrategy {
    let rule = |action| EvaluateOnExit {
        on_status_reason: None,
        on_reason: None,
        on_exit_code: None,
        action,
    };
    let status = |pattern: &str| EvaluateOnExit {
        on_status_reason: Some(pattern.to_owned()),
        ..rule(ExitAction::Retry)
    };
    RetryStrategy {
        attempts: attempts.clamp(1, ATTEMPTS_MAX),
        evaluate_on_exit: vec![
            status("Host EC2*"),
            status("Your Spot Task was interrupted*"),
            EvaluateOnExit {
                on_reason: Some("Cannot*".to_owned()),
                ..rule(ExitAction::Retry)
            },
            EvaluateOnExit {
                on_exit_code: Some("1*".to_owned()),
                ..rule(ExitAction::Retry)
            },
            EvaluateOnExit {
                on_reason: Some("*".to_owned()),
                ..rule(ExitAction::Exit)
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_domain::config::child_exit::{INTERRUPTED, MISCONFIGURED, UNAVAILABLE};
    use rowmill_domain::limits::{EVALUATE_ON_EXIT_MAX, JOB_NAME_MAX};
    use rowmill_domain::secret::SecretFrom;

    fn config() -> SubmitConfig {
        SubmitConfig {
            work_bucket: "work".into(),
            fetch_buckets: Vec::new(),
            queue: "queue".into(),
            stack: "rowmill".into(),
            image: String::new(),
        }
    }

    fn definition(image: &str, batch: &Batch) -> JobDefinition {
        super::definition(&config(), image, batch, &[])
    }

    #[test]
    fn secrets_are_named_and_change_the_definition() {
        let batch = Batch::default();
        let from = SecretFrom::parse("ssm:tax").unwrap();
        let name = "API_KEY".to_owned();
        let with = super::definition(&config(), "image:1", &batch, &[Secret { name, from }]);
        let told: Vec<_> = with.secrets.iter().collect();
        let expected = (
            &"ROWMILL_SECRET_API_KEY".to_owned(),
            &"ssm:/rowmill/tax".to_owned(),
        );
        assert_eq!(told, [expected]);
        assert_ne!(with.name, definition("image:1", &batch).name);
    }

    #[test]
    fn the_container_is_told_where_things_are() {
        let told = |config: &SubmitConfig| {
            let definition = super::definition(config, "image:1", &Batch::default(), &[]);
            let told = definition.environment.into_iter();
            told.map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        let always = ["ROWMILL_STACK=rowmill", "ROWMILL_WORK_BUCKET=work"];
        assert_eq!(told(&config()), always);
        let further = SubmitConfig {
            fetch_buckets: vec!["arn:aws:s3:::tools".into(), "more".into()],
            ..config()
        };
        let fetch = "ROWMILL_FETCH_BUCKETS=arn:aws:s3:::tools,more";
        assert_eq!(told(&further), [fetch, always[0], always[1]]);
    }

    #[test]
    fn the_same_content_has_the_same_name_and_other_content_another() {
        let batch = Batch::default();
        let base = definition("image:1", &batch);
        assert_eq!(base, definition("image:1", &batch));
        assert!(base.name.len() <= JOB_NAME_MAX && base.name.starts_with("rowmill-"));
        let work2 = SubmitConfig {
            work_bucket: "work2".into(),
            ..config()
        };
        let vcpu = Batch {
            vcpu: 1.0,
            ..batch.clone()
        };
        let memory = Batch {
            memory_mib: 1024,
            ..batch.clone()
        };
        let attempts = Batch {
            attempts: 3,
            ..batch.clone()
        };
        let timeout = Batch {
            timeout_seconds: 90,
            ..batch.clone()
        };
        for other in [
            definition("image:2", &batch),
            super::definition(&work2, "image:1", &batch, &[]),
            definition("image:1", &vcpu),
            definition("image:1", &memory),
            definition("image:1", &attempts),
            definition("image:1", &timeout),
        ] {
            assert_ne!(other.name, base.name);
        }
    }

    #[test]
    fn exit_codes_are_told_apart() {
        let strategy = retry_strategy(10);
        assert!(strategy.evaluate_on_exit.len() <= EVALUATE_ON_EXIT_MAX);
        // As Batch evaluates a child that exits by itself.
        let action = |code: u8| {
            let rules = strategy.evaluate_on_exit.iter();
            let mut matching = rules.filter(|rule| match &rule.on_exit_code {
                Some(pattern) => code.to_string().starts_with(pattern.trim_end_matches('*')),
                None => rule.on_reason.as_deref() == Some("*"),
            });
            matching.next().map(|rule| rule.action)
        };
        for code in [INTERRUPTED, UNAVAILABLE, 137] {
            assert_eq!(action(code), Some(ExitAction::Retry), "{code}");
        }
        for code in [MISCONFIGURED, 64] {
            assert_eq!(action(code), Some(ExitAction::Exit), "{code}");
        }
        let last = strategy.evaluate_on_exit.last().unwrap();
        assert_eq!(last.action, ExitAction::Exit);
    }
}
