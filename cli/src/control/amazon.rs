//! The ports of a stack on AWS.
//!
//! The configuration of its functions has the names of its resources
//! (`docs/decisions/0030-a-stack-by-its-functions.md`).

use super::Control;
use super::deployment::Stack;
use crate::error::CliError;

/// Opens the stack of this name, with the region and credentials of the AWS CLI.
#[cfg(feature = "aws")]
pub(crate) async fn open(name: &str) -> Result<(Control, Stack), CliError> {
    use std::sync::Arc;

    use rowmill_aws::{DynamoLedger, LambdaFunction, S3Objects, SnsTopic, sdk_config};
    use rowmill_domain::config::{ROWMILL_INBOX_BUCKET, ROWMILL_TOPIC, ROWMILL_WORK_BUCKET};
    use rowmill_ports::ErrorKind;
    use rowmill_runs::WorkBucket;

    /// The functions whose configuration together names all resources.
    const FUNCTIONS: [&str; 4] = ["cleanup", "report", "submit", "split"];

    let sdk = sdk_config().await;
    let Some(region) = sdk.region().map(ToString::to_string) else {
        return Err(CliError::refused(miette::miette!(
            help = "set AWS_REGION, or choose a profile that has a region with AWS_PROFILE",
            "no region of AWS is chosen, so the stack {name} cannot be found"
        )));
    };
    let mut settings = std::collections::BTreeMap::new();
    for function in FUNCTIONS {
        let function = LambdaFunction::new(&sdk, format!("{name}-{function}"));
        let found = function.variables().await.map_err(|e| match e.kind {
            ErrorKind::NotFound => CliError::refused(miette::miette!(
                help = "`aws cloudformation list-stacks` lists the stacks; AWS_REGION and AWS_PROFILE choose \
                        region and account",
                "no stack of Rowmill in {region} is named {name}: {e}"
            )),
            ErrorKind::Denied => CliError::failed(
                format_args!("the stack {name} in {region} cannot be read"),
                format_args!(
                    "{e}\nThe command needs lambda:GetFunctionConfiguration on the functions of the stack, \
                     and what they do with its buckets, tables and topic."
                ),
            ),
            _ => CliError::failed(
                format_args!("the stack {name} in {region} cannot be read"),
                format_args!("{e}\nCheck the credentials with `aws sts get-caller-identity`."),
            ),
        })?;
        settings.extend(found);
    }
    settings.retain(|variable, _| variable.starts_with("ROWMILL_"));
    settings.insert("AWS_REGION".to_owned(), region);
    let setting = |variable: &str| {
        settings.get(variable).cloned().ok_or_else(|| {
            CliError::refused(miette::miette!(
                help = "deploy it again with the template of this version",
                "the functions of the stack {name} have no variable {variable}"
            ))
        })
    };
    let objects = Arc::new(S3Objects::new(&sdk));
    let ledger = Arc::new(DynamoLedger::new(&sdk, name));
    let control = Control {
        runs: ledger.clone(),
        outcomes: ledger,
        topic: Arc::new(SnsTopic::new(&sdk, setting(ROWMILL_TOPIC)?)),
        work: WorkBucket::new(setting(ROWMILL_WORK_BUCKET)?, objects.clone()),
    };
    let inbox = WorkBucket::new(setting(ROWMILL_INBOX_BUCKET)?, objects);
    let stack = Stack {
        name: name.to_owned(),
        inbox,
        settings,
    };
    Ok((control, stack))
}

/// Refuses: this program has no SDK.
#[cfg(not(feature = "aws"))]
pub(crate) async fn open(name: &str) -> Result<(Control, Stack), CliError> {
    Err(CliError::refused(miette::miette!(
        help = "build it with `cargo install --path cli --features aws`",
        "this rowmill was built without AWS, so it cannot open the stack {name}"
    )))
}

/// Invokes a function of a stack, and waits for its answer.
#[cfg(feature = "aws")]
pub(crate) async fn invoke(
    stack: &str,
    function: &str,
    payload: &serde_json::Value,
) -> Result<serde_json::Value, CliError> {
    let sdk = rowmill_aws::sdk_config().await;
    let function = rowmill_aws::LambdaFunction::new(&sdk, format!("{stack}-{function}"));
    let answer = function.call(payload).await;
    answer.map_err(|e| CliError::failed(format_args!("stack {stack}"), e))
}

/// Refuses, as [`open`] does.
#[cfg(not(feature = "aws"))]
pub(crate) async fn invoke(
    stack: &str,
    _: &str,
    _: &serde_json::Value,
) -> Result<serde_json::Value, CliError> {
    open(stack).await.map(|_| serde_json::Value::Null)
}
