//! Job definitions: the settings that all jobs of a phase share.

use std::collections::BTreeMap;

use rowmill_domain::config::{
    ROWMILL_FETCH_BUCKETS, ROWMILL_STACK, ROWMILL_TOPIC, ROWMILL_WORK_BUCKET,
};
use rowmill_domain::job::{EvaluateOnExit, ExitAction, JobDefinition, Resources, RetryStrategy};
use rowmill_domain::limits::{ATTEMPT_SECONDS_MIN, ATTEMPTS_MAX};
use rowmill_pipeline::BatchSettings;
use rowmill_pipeline::secrets::Secret;

use crate::SubmitConfig;

/// The definition of a phase whose container runs `image`. Its name is `<stack>-<12 hex digits of a
/// hash of its content>`, so the same content always has the same name.
pub fn definition(
    config: &SubmitConfig,
    work_bucket: &str,
    image: &str,
    resources: Resources,
    batch: &BatchSettings,
    secrets: &[Secret],
) -> JobDefinition {
    let SubmitConfig {
        stack,
        fetch_buckets,
        ..
    } = config;
    let mut environment = BTreeMap::from([
        (ROWMILL_STACK.to_owned(), stack.clone()),
        (ROWMILL_WORK_BUCKET.to_owned(), work_bucket.to_owned()),
    ]);
    if let Some(topic) = &config.topic {
        environment.insert(ROWMILL_TOPIC.to_owned(), topic.clone());
    }
    if !fetch_buckets.is_empty() {
        environment.insert(ROWMILL_FETCH_BUCKETS.to_owned(), fetch_buckets.join(","));
    }
    let mut definition = JobDefinition {
        name: String::new(),
        image: image.to_owned(),
        // The entry point of the image is enrich. The environment names the slice.
        command: Vec::new(),
        resources,
        environment,
        secrets: secrets
            .iter()
            .map(|secret| (secret.variable(), secret.reference(stack)))
            .collect(),
        retry: retry_strategy(batch.attempts),
        timeout_seconds: Some(batch.timeout_seconds.max(ATTEMPT_SECONDS_MIN)),
    };
    // Serializing strings, numbers and ordered maps cannot fail. With an empty text, all
    // definitions would only have the same name.
    let content = serde_json::to_vec(&definition).unwrap_or_default();
    let hash = blake3::hash(&content).to_hex();
    definition.name = format!("{stack}-{}", &hash[..12]);
    definition
}

/// When Batch retries a child. The first rule that matches decides. If none matches, Batch retries.
///
/// | rule | meaning |
/// |---|---|
/// | exit code `1*` | 1: a program could not be fetched ([`NOT_FETCHED`]). 101: the program crashed. 137: killed, for example because it ran out of memory. 143: interrupted ([`INTERRUPTED`]). 175: a service failed ([`UNAVAILABLE`]). Retry: the child resumes with the records that have no outcome yet |
/// | status reason `Essential container in task exited*` | the program ended by itself with any other code, such as 2 ([`MISCONFIGURED`]). No retry |
/// | none | the machine failed before the program started (no network, no image, no secret) or while it ran (host lost, spot capacity reclaimed). Retry |
///
/// Machines fail in more ways than five rules can list, and AWS may add more. So the rules describe
/// what the program did, and there is no final rule for everything else.
///
/// Source: AWS Batch API, EvaluateOnExit ("If none of the EvaluateOnExit conditions in a
/// RetryStrategy match, then the job is retried"); for the status reason: Amazon ECS, "Stopped
/// tasks error messages". Batch never retries a job that was terminated or exceeded its time limit.
///
/// [`INTERRUPTED`]: rowmill_domain::config::child_exit::INTERRUPTED
/// [`MISCONFIGURED`]: rowmill_domain::config::child_exit::MISCONFIGURED
/// [`NOT_FETCHED`]: rowmill_domain::config::child_exit::NOT_FETCHED
/// [`UNAVAILABLE`]: rowmill_domain::config::child_exit::UNAVAILABLE
pub fn retry_strategy(attempts: u32) -> RetryStrategy {
    let again = EvaluateOnExit {
        on_status_reason: None,
        on_reason: None,
        on_exit_code: Some("1*".to_owned()),
        action: ExitAction::Retry,
    };
    let never = EvaluateOnExit {
        on_status_reason: Some("Essential container in task exited*".to_owned()),
        on_reason: None,
        on_exit_code: None,
        action: ExitAction::Exit,
    };
    RetryStrategy {
        attempts: attempts.clamp(1, ATTEMPTS_MAX),
        evaluate_on_exit: vec![again, never],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowmill_domain::config::child_exit::{
        INTERRUPTED, MISCONFIGURED, NOT_FETCHED, UNAVAILABLE,
    };
    use rowmill_domain::job::{AttemptEnd, Capacity};
    use rowmill_domain::limits::{EVALUATE_ON_EXIT_MAX, JOB_NAME_MAX};
    use rowmill_pipeline::secrets::SecretSource;

    fn config() -> SubmitConfig {
        SubmitConfig {
            fetch_buckets: Vec::new(),
            queue: "queue".into(),
            stack: "rowmill".into(),
            image: String::new(),
            capacity: Capacity::Fargate,
            topic: None,
            region: None,
        }
    }

    fn definition(image: &str, batch: &BatchSettings) -> JobDefinition {
        super::definition(&config(), "work", image, batch.resources, batch, &[])
    }

    #[test]
    fn secrets_are_references_and_change_the_name() {
        let batch = BatchSettings::default();
        let from = SecretSource::parse("ssm:tax").unwrap();
        let name = "API_KEY".to_owned();
        let with = super::definition(
            &config(),
            "work",
            "image:1",
            batch.resources,
            &batch,
            &[Secret { name, from }],
        );
        let references: Vec<_> = with.secrets.iter().collect();
        let expected = (
            &"ROWMILL_SECRET_API_KEY".to_owned(),
            &"ssm:/rowmill/tax".to_owned(),
        );
        assert_eq!(references, [expected]);
        assert_ne!(with.name, definition("image:1", &batch).name);
    }

    #[test]
    fn the_environment_names_the_stack_and_the_buckets() {
        let variables = |config: &SubmitConfig| {
            let batch = BatchSettings::default();
            let definition =
                super::definition(config, "work", "image:1", batch.resources, &batch, &[]);
            let variables = definition.environment.into_iter();
            variables
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        let always = ["ROWMILL_STACK=rowmill", "ROWMILL_WORK_BUCKET=work"];
        assert_eq!(variables(&config()), always);
        let further = SubmitConfig {
            fetch_buckets: vec!["arn:aws:s3:::tools".into(), "more".into()],
            ..config()
        };
        let fetch = "ROWMILL_FETCH_BUCKETS=arn:aws:s3:::tools,more";
        assert_eq!(variables(&further), [fetch, always[0], always[1]]);
    }

    #[test]
    fn the_name_depends_only_on_the_content() {
        let batch = BatchSettings::default();
        let base = definition("image:1", &batch);
        assert_eq!(base, definition("image:1", &batch));
        assert!(base.name.len() <= JOB_NAME_MAX && base.name.starts_with("rowmill-"));
        let sized = |resources| BatchSettings {
            resources,
            ..batch.clone()
        };
        let vcpu = sized(Resources {
            vcpu: 1.0,
            ..batch.resources
        });
        let memory = sized(Resources {
            memory_mib: 1024,
            ..batch.resources
        });
        let storage = sized(Resources {
            storage_gib: Some(21),
            ..batch.resources
        });
        let attempts = BatchSettings {
            attempts: 3,
            ..batch.clone()
        };
        let timeout = BatchSettings {
            timeout_seconds: 90,
            ..batch.clone()
        };
        for other in [
            definition("image:2", &batch),
            super::definition(&config(), "work2", "image:1", batch.resources, &batch, &[]),
            definition("image:1", &vcpu),
            definition("image:1", &memory),
            definition("image:1", &storage),
            definition("image:1", &attempts),
            definition("image:1", &timeout),
        ] {
            assert_ne!(other.name, base.name);
        }
    }

    #[test]
    fn machine_failures_are_retried_and_exit_codes_decide_for_programs() {
        let strategy = retry_strategy(10);
        assert!(strategy.evaluate_on_exit.len() <= EVALUATE_ON_EXIT_MAX);
        let exited = "Essential container in task exited";
        let action = |status_reason, reason, exit_code| {
            strategy.action(AttemptEnd {
                status_reason,
                reason,
                exit_code,
            })
        };
        for code in [NOT_FETCHED, 101, 137, INTERRUPTED, UNAVAILABLE] {
            let ended = action(exited, None, Some(code.into()));
            assert_eq!(ended, ExitAction::Retry, "{code}");
        }
        let memory = Some("OutOfMemoryError: Container killed due to memory usage");
        assert_eq!(action(exited, memory, Some(137)), ExitAction::Retry);
        for code in [MISCONFIGURED, 64, 255] {
            let ended = action(exited, None, Some(code.into()));
            assert_eq!(ended, ExitAction::Exit, "{code}");
        }
        // Amazon ECS, "Stopped tasks error messages", and AWS Batch, "Troubleshooting".
        let start = "Task failed to start";
        for (status, reason) in [
            (start, None),
            (start, Some("CannotPullContainerError: i/o timeout")),
            (start, Some("CannotStartContainerError: no space left")),
            (start, Some("DockerTimeoutError: Could not transition")),
            ("ContainerRuntimeTimeoutError: Could not transition", None),
            ("ResourceInitializationError: unable to pull secrets", None),
            (
                "Timeout waiting for network interface provisioning to complete.",
                None,
            ),
            ("Host EC2 (instance i-0a1b2c3d4e5f) terminated.", None),
            ("Your Spot Task was interrupted.", None),
            ("a reason that AWS has yet to invent", None),
        ] {
            let ended = action(status, reason, None);
            assert_eq!(ended, ExitAction::Retry, "{status} {reason:?}");
        }
        // The exit code does not matter if the capacity was reclaimed.
        let taken = action("Your Spot Task was interrupted.", None, Some(2));
        assert_eq!(taken, ExitAction::Retry);
    }
}
