//! The request that registers a job definition.

use std::collections::BTreeMap;

use aws_sdk_batch::operation::register_job_definition::builders::RegisterJobDefinitionFluentBuilder;
use aws_sdk_batch::types::{
    AssignPublicIp, ContainerProperties, EphemeralStorage, EvaluateOnExit,
    FargatePlatformConfiguration, JobDefinitionType, JobTimeout, KeyValuePair, LogConfiguration,
    LogDriver, NetworkConfiguration, PlatformCapability, ResourceRequirement, ResourceType,
    RetryAction, RetryStrategy, RuntimePlatform, Secret,
};
use rowmill_domain::job::rules::Violation;
use rowmill_domain::job::{
    Capacity, ExitAction, JobDefinition, Resources, RetryStrategy as Retries, value_from,
};
use serde_json::json;

use super::{Architecture, BatchConfig, signed};

/// The version of the output of [`fill`], so that a new version of the program does not
/// use what an old one registered.
const FORMAT: u32 = 1;

/// The variable that tells the SDK its region.
const AWS_REGION: &str = "AWS_REGION";

/// The prefix of log streams: `enrich/default/<task id>`.
const STREAM_PREFIX: &str = "enrich";

/// The name to register the definition under: its own name, followed by 12 hex digits of a hash of
/// everything that is registered, including what the deployment adds. The same content always has
/// the same name, and different content has a different one.
pub(super) fn name(
    definition: &JobDefinition,
    config: &BatchConfig,
    region: Option<&str>,
) -> String {
    let content = json!([FORMAT, definition, config, region]).to_string();
    let hash = blake3::hash(content.as_bytes()).to_hex();
    format!("{}-{}", definition.name, &hash[..12])
}

/// The request that registers the definition.
///
/// # Errors
/// It has secrets given by name, and their region or account is unknown.
pub(super) fn fill(
    request: RegisterJobDefinitionFluentBuilder,
    definition: &JobDefinition,
    config: &BatchConfig,
    region: Option<&str>,
) -> Result<RegisterJobDefinitionFluentBuilder, Violation> {
    let container = container(definition, config, region)?;
    let timeout = definition.timeout_seconds.map(|seconds| {
        JobTimeout::builder()
            .attempt_duration_seconds(signed(seconds))
            .build()
    });
    Ok(request
        .job_definition_name(&definition.name)
        .r#type(JobDefinitionType::Container)
        .platform_capabilities(match config.capacity {
            Capacity::Fargate => PlatformCapability::Fargate,
            Capacity::Ec2 => PlatformCapability::Ec2,
        })
        .container_properties(container)
        .retry_strategy(retry(&definition.retry))
        .set_timeout(timeout)
        .propagate_tags(true)
        .set_tags(Some(config.tags.clone().into_iter().collect())))
}

fn container(
    definition: &JobDefinition,
    config: &BatchConfig,
    region: Option<&str>,
) -> Result<ContainerProperties, Violation> {
    let secrets = secrets(definition, config, region)?;
    let mut variables = definition.environment.clone();
    if let Some(region) = region {
        // Fargate sets it, EC2 does not.
        variables.insert(AWS_REGION.to_owned(), region.to_owned());
    }
    let environment = environment(&variables);
    let container = ContainerProperties::builder()
        .image(&definition.image)
        .set_command(Some(definition.command.clone()))
        .set_environment(Some(environment))
        .set_resource_requirements(Some(requirements(definition.resources, config.capacity)))
        .job_role_arn(&config.job_role)
        .execution_role_arn(&config.execution_role)
        .log_configuration(log(config, region))
        .set_secrets((!secrets.is_empty()).then_some(secrets));
    Ok(match config.capacity {
        Capacity::Fargate => container
            .set_ephemeral_storage(
                definition
                    .resources
                    .storage_gib
                    .map(|gib| EphemeralStorage::builder().size_in_gib(signed(gib)).build()),
            )
            .fargate_platform_configuration(
                FargatePlatformConfiguration::builder()
                    .platform_version("LATEST")
                    .build(),
            )
            .runtime_platform(
                RuntimePlatform::builder()
                    .operating_system_family("LINUX")
                    .cpu_architecture(match config.architecture {
                        Architecture::Arm64 => "ARM64",
                        Architecture::X86_64 => "X86_64",
                    })
                    .build(),
            )
            .network_configuration(
                NetworkConfiguration::builder()
                    .assign_public_ip(match config.assign_public_ip {
                        true => AssignPublicIp::Enabled,
                        false => AssignPublicIp::Disabled,
                    })
                    .build(),
            )
            .build(),
        // Source: AWS Batch API, ContainerProperties: jobs on EC2 must not have any of the four.
        Capacity::Ec2 => container.build(),
    })
}

/// vCPUs and memory in the form that Batch expects.
pub(super) fn requirements(resources: Resources, capacity: Capacity) -> Vec<ResourceRequirement> {
    let vcpu = match capacity {
        Capacity::Fargate => resources.vcpu,
        // Source: AWS Batch API, ResourceRequirement, "VCPU": whole numbers on EC2.
        Capacity::Ec2 => resources.vcpu.ceil().max(1.0),
    };
    let requirement = |kind, value: String| {
        ResourceRequirement::builder()
            .r#type(kind)
            .value(value)
            .build()
    };
    vec![
        requirement(ResourceType::Vcpu, vcpu.to_string()),
        requirement(ResourceType::Memory, resources.memory_mib.to_string()),
    ]
}

/// Secrets in the form that Batch expects. Secrets given by name are in the account of the execution
/// role, which reads them.
fn secrets(
    definition: &JobDefinition,
    config: &BatchConfig,
    region: Option<&str>,
) -> Result<Vec<Secret>, Violation> {
    let mut secrets = Vec::new();
    for (variable, reference) in &definition.secrets {
        let mut role = config.execution_role.split(':');
        // arn:<partition>:iam::<account>:role/<name>
        let (partition, account) = (role.nth(1), role.nth(2));
        let (Some(partition), Some(account), Some(region)) = (partition, account, region) else {
            return Err(Violation(format!(
                "{variable}: the location of the secret {reference} depends on the region and on \
                 the ARN of the execution role, which is `{}`",
                config.execution_role
            )));
        };
        let from = value_from(reference, partition, region, account);
        secrets.push(Secret::builder().name(variable).value_from(from).build());
    }
    Ok(secrets)
}

fn log(config: &BatchConfig, region: Option<&str>) -> LogConfiguration {
    let log = LogConfiguration::builder()
        .log_driver(LogDriver::Awslogs)
        .options("awslogs-group", &config.log_group)
        .options("awslogs-stream-prefix", STREAM_PREFIX);
    match region {
        Some(region) => log.options("awslogs-region", region).build(),
        None => log.build(),
    }
}

/// Environment variables in the form that Batch expects.
pub(super) fn environment(variables: &BTreeMap<String, String>) -> Vec<KeyValuePair> {
    variables
        .iter()
        .map(|(name, value)| KeyValuePair::builder().name(name).value(value).build())
        .collect()
}

/// A retry strategy in the form that Batch expects.
pub(super) fn retry(retries: &Retries) -> RetryStrategy {
    let rules = retries.evaluate_on_exit.iter().map(|rule| {
        EvaluateOnExit::builder()
            .set_on_status_reason(rule.on_status_reason.clone())
            .set_on_reason(rule.on_reason.clone())
            .set_on_exit_code(rule.on_exit_code.clone())
            .action(match rule.action {
                ExitAction::Retry => RetryAction::Retry,
                ExitAction::Exit => RetryAction::Exit,
            })
            .build()
    });
    RetryStrategy::builder()
        .attempts(signed(retries.attempts))
        .set_evaluate_on_exit(Some(rules.collect()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BatchConfig {
        BatchConfig {
            job_role: "arn:aws:iam::123456789012:role/job".into(),
            execution_role: "arn:aws:iam::123456789012:role/execution".into(),
            log_group: "/rowmill/jobs".into(),
            architecture: Architecture::Arm64,
            capacity: Capacity::Fargate,
            assign_public_ip: true,
            tags: BTreeMap::from([("rowmill:stack".into(), "rowmill".into())]),
        }
    }

    fn definition() -> JobDefinition {
        JobDefinition {
            resources: Resources::SMALLEST,
            ..rowmill_ports::conformance::jobs::definition("rowmill-0123456789ab")
        }
    }

    #[test]
    fn the_name_depends_on_everything_that_is_registered() {
        let region = Some("eu-central-1");
        let base = name(&definition(), &config(), region);
        assert_eq!(base, name(&definition(), &config(), region));
        assert!(base.starts_with("rowmill-0123456789ab-"), "{base}");
        assert_eq!(base.len(), "rowmill-0123456789ab-".len() + 12);
        type Change = dyn Fn(&mut JobDefinition, &mut BatchConfig);
        let changes: [&Change; 10] = [
            &|d, _| d.image.push('2'),
            &|d, _| d.resources.memory_mib += 1,
            &|d, _| d.resources.storage_gib = Some(21),
            &|d, _| d.retry.attempts += 1,
            &|_, c| c.job_role.push('2'),
            &|_, c| c.execution_role.push('2'),
            &|_, c| c.log_group.push('2'),
            &|_, c| c.architecture = Architecture::X86_64,
            &|_, c| c.capacity = Capacity::Ec2,
            &|_, c| c.assign_public_ip = false,
        ];
        let mut names: Vec<String> = changes
            .iter()
            .map(|change| {
                let (mut definition, mut config) = (definition(), config());
                change(&mut definition, &mut config);
                name(&definition, &config, region)
            })
            .collect();
        names.push(name(&definition(), &config(), Some("eu-west-1")));
        names.push(base);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), changes.len() + 2);
    }

    #[test]
    fn properties_that_ec2_rejects_are_left_out() {
        let mut definition = definition();
        definition.resources.storage_gib = Some(100);
        let on = |capacity| {
            let config = BatchConfig {
                capacity,
                ..config()
            };
            container(&definition, &config, Some("eu-central-1")).unwrap()
        };
        let vcpu = |container: &ContainerProperties| {
            let found = container.resource_requirements().iter();
            let mut vcpu = found.filter(|r| r.r#type() == Some(&ResourceType::Vcpu));
            vcpu.next().and_then(|r| r.value()).map(str::to_owned)
        };
        let fargate = on(Capacity::Fargate);
        let platform = fargate.runtime_platform().unwrap();
        assert_eq!(platform.cpu_architecture(), Some("ARM64"));
        assert_eq!(platform.operating_system_family(), Some("LINUX"));
        let version = fargate.fargate_platform_configuration().unwrap();
        assert_eq!(version.platform_version(), Some("LATEST"));
        let storage = fargate.ephemeral_storage().unwrap();
        assert_eq!(storage.size_in_gib(), Some(100));
        let network = fargate.network_configuration().unwrap();
        assert_eq!(network.assign_public_ip(), Some(&AssignPublicIp::Enabled));
        assert_eq!(vcpu(&fargate).as_deref(), Some("0.25"));
        let [region] = fargate.environment() else {
            panic!("{fargate:?}")
        };
        let expected = (Some("AWS_REGION"), Some("eu-central-1"));
        assert_eq!((region.name(), region.value()), expected);
        let options = fargate.log_configuration().unwrap().options().unwrap();
        assert_eq!(options["awslogs-group"], "/rowmill/jobs");
        assert_eq!(options["awslogs-region"], "eu-central-1");
        assert_eq!(options["awslogs-stream-prefix"], "enrich");

        let ec2 = on(Capacity::Ec2);
        assert_eq!(ec2.runtime_platform(), None);
        assert_eq!(ec2.fargate_platform_configuration(), None);
        assert_eq!(ec2.network_configuration(), None);
        assert_eq!(ec2.ephemeral_storage(), None);
        assert_eq!(vcpu(&ec2).as_deref(), Some("1"));
        assert_eq!(ec2.execution_role_arn(), fargate.execution_role_arn());
        assert_eq!(ec2.secrets(), []);
    }

    #[test]
    fn secrets_are_in_the_account_of_the_execution_role() {
        let mut definition = definition();
        let (variable, reference) = (
            "ROWMILL_SECRET_KEY".to_owned(),
            "rowmill/tax/key".to_owned(),
        );
        definition.secrets.insert(variable.clone(), reference);
        let found = secrets(&definition, &config(), Some("eu-central-1")).unwrap();
        let expected = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rowmill/tax/key";
        let secret = Secret::builder().name(variable).value_from(expected);
        assert_eq!(found, [secret.build()]);

        let nowhere = secrets(&definition, &config(), None).unwrap_err();
        assert!(nowhere.0.contains("ROWMILL_SECRET_KEY"), "{nowhere}");
    }
}
