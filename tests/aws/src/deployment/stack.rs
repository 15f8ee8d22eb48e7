//! Builds the functions with `sam build` and deploys the template to ministack.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use tempfile::NamedTempFile;

use crate::emulators::{self, Emulator};
use rowmill_tests_local::program::root;
use rowmill_tests_local::python;

/// The output directory of `sam build`, built now if sources are newer.
pub(super) fn functions() -> PathBuf {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let script = root().join(".ci/build-functions");
        let mut build = Command::new(&script);
        // The variables of the Cargo that runs this test. Build scripts that depend on them would run
        // again, and everything that depends on those would be rebuilt.
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_some_and(|n| n.starts_with("CARGO_"));
            if ours && name != "CARGO_HOME" && name != "CARGO_INCREMENTAL" {
                build.env_remove(name);
            }
        }
        let built = build.stdout(Stdio::null()).status();
        assert!(
            built.as_ref().is_ok_and(|status| status.success()),
            "{}: {built:?}",
            script.display()
        );
    });
    root().join("target/sam/build")
}

/// The program of a function in that directory.
pub(super) fn program(built: &Path, stage: &str) -> PathBuf {
    let (first, rest) = stage.split_at(1);
    let function = format!("{}{rest}Function", first.to_uppercase());
    built.join(function).join("bootstrap")
}

/// The template for ministack. It is in the directory of the functions, because it has relative paths to
/// them. Each deployment has its own file.
pub(super) fn template(built: &Path) -> NamedTempFile {
    let template = tempfile::Builder::new()
        .prefix("ministack-")
        .suffix(".json")
        .tempfile_in(built)
        .unwrap();
    let rewritten = Command::new(python::venv("emulator-venv", "emulators.txt"))
        .arg(root().join("tests/python/for_ministack.py"))
        .args([&built.join("template.yaml"), template.path()])
        .output()
        .unwrap();
    assert!(rewritten.status.success(), "{rewritten:?}");
    template
}

/// Deploys as a user does and returns the outputs of the stack.
pub(super) async fn deploy(
    ministack: &Emulator,
    s3: &aws_sdk_s3::Client,
    built: &Path,
    stack: &str,
    parameters: &[(&str, &str)],
) -> HashMap<String, String> {
    let bucket = "deployment";
    let here = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::from(emulators::REGION))
        .build();
    let create = s3.create_bucket().bucket(bucket);
    let create = create.create_bucket_configuration(here);
    create.send().await.unwrap();
    let template = template(built);
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    };
    let mut command = tokio::process::Command::new(root().join("target/tools/bin/sam"));
    command
        .arg("deploy")
        .arg("--template-file")
        .arg(template.path())
        .args(["--stack-name", stack, "--s3-bucket", bucket])
        // sam requires one if a function is an image, even if nothing is pushed.
        .args([
            "--image-repository",
            "000000000000.dkr.ecr.eu-central-1.amazonaws.com/rowmill",
        ])
        .args(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"])
        .args([
            "--no-confirm-changeset",
            "--no-progressbar",
            "--parameter-overrides",
        ])
        .arg(format!("Architecture={architecture}"))
        .arg(format!("Sender={}", super::SENDER))
        .arg(format!("DefaultRecipient={}", super::RECIPIENT))
        .args(
            parameters
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        )
        .envs(emulators::environment(&[("", ministack)]))
        .env("SAM_CLI_TELEMETRY", "0")
        .current_dir(built);
    let deployed = command.output().await.unwrap();
    assert!(
        deployed.status.success(),
        "sam deploy: {}\n{}\n{}",
        String::from_utf8_lossy(&deployed.stdout),
        String::from_utf8_lossy(&deployed.stderr),
        ministack.log()
    );
    outputs(ministack, stack).await
}

async fn outputs(ministack: &Emulator, stack: &str) -> HashMap<String, String> {
    let query = format!("Action=DescribeStacks&Version=2010-05-15&StackName={stack}");
    let text = crate::http::client()
        .post(ministack.url())
        .header("content-type", "application/x-www-form-urlencoded")
        // ministack reads the service from the signature.
        .header("authorization", signed_for("cloudformation"))
        .body(query)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let within = |text: &str, tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        let (value, _) = rest.split_once(&format!("</{tag}>"))?;
        Some(
            value
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&"),
        )
    };
    let members = text
        .split("<member>")
        .filter_map(|member| Some((within(member, "OutputKey")?, within(member, "OutputValue")?)));
    members.collect()
}

/// The header from which ministack reads the service. It does not check the signature.
pub(super) fn signed_for(service: &str) -> String {
    let region = emulators::REGION;
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20261121/{region}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}
