//! The settings of report.

use chrono::{DateTime, Utc};
use rowmill_domain::RunId;
use rowmill_domain::link::{Link, LinkKey};

/// What differs from deployment to deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportConfig {
    /// The deployment's job queue, by name or ARN. Events of other queues are ignored.
    pub queue: String,
    /// The sender: `rowmill@example.com` or `Rowmill <rowmill@example.com>`.
    pub from: String,
    /// Recipients if neither the upload nor the pipeline names one.
    pub default_to: Vec<String>,
    /// Domains that may receive mail, in addition to the default recipients. Empty: all domains.
    pub allowed_domains: Vec<String>,
    /// The largest workbook, in bytes, that is attached to the mail. Larger ones are linked.
    pub attach_limit: u64,
    /// How workbooks are linked. `None`: by a presigned link to the object.
    pub links: Option<Links>,
    /// How people give workbooks to this deployment. The advice in mails says how to do it again.
    pub given: Given,
}

/// How people give workbooks to a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// They upload them to the inbox bucket.
    Upload,
    /// They name them in a command on this machine.
    Command,
}

/// Links in mails, which lead to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The API's base URL.
    pub base: String,
    /// The key that signs the links. The API checks them with the same key.
    pub key: LinkKey,
}

impl Links {
    /// A link to an object of a run. It works until `expires`.
    pub(crate) fn to(&self, run: &RunId, object: &str, expires: DateTime<Utc>) -> String {
        let link = Link {
            run: run.clone(),
            object: object.to_owned(),
            expires,
        };
        format!(
            "{}/d/{}",
            self.base.trim_end_matches('/'),
            link.sign(&self.key)
        )
    }
}
