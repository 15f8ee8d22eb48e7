//! What a program does not inherit from the environment of its child: secrets of other pipelines,
//! the password of the mail relay, and credentials for AWS.
//!
//! This keeps them out of logs, crash reports and libraries that look for credentials. It is not
//! a sandbox: a program runs as the user that runs Rowmill.

use std::ffi::{OsStr, OsString};

use rowmill_domain::config::{ROWMILL_SMTP, SECRET_PREFIX};

/// The variables in which the AWS SDKs look for credentials. Source: AWS SDKs and Tools Reference
/// Guide, "Environment variables"; the two URIs are those of containers on ECS, Fargate and EKS.
const AWS_CREDENTIALS: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// Returns the variables of this process that a program must not inherit. `aws`: it may inherit
/// credentials for AWS.
pub(super) fn withheld(aws: bool) -> Vec<OsString> {
    // Only names. What the program does inherit is the operator's business, not a setting of Rowmill.
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| is_withheld(name, aws)).collect()
}

fn is_withheld(name: &OsStr, aws: bool) -> bool {
    // A name that is not UTF-8 is none of these, but may have the prefix.
    let name = name.to_string_lossy();
    name.starts_with(SECRET_PREFIX)
        || name == ROWMILL_SMTP
        || !aws && AWS_CREDENTIALS.contains(&&*name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_the_relay_and_aws_credentials_are_withheld() {
        for (name, without_aws, with_aws) in [
            ("ROWMILL_SECRET_KEY", true, true),
            ("ROWMILL_SMTP", true, true),
            ("AWS_SECRET_ACCESS_KEY", true, false),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", true, false),
            ("AWS_REGION", false, false),
            ("PATH", false, false),
            ("HOME", false, false),
            ("ROWMILL_LOG", false, false),
        ] {
            assert_eq!(is_withheld(name.as_ref(), false), without_aws, "{name}");
            assert_eq!(is_withheld(name.as_ref(), true), with_aws, "{name}");
        }
    }
}
