//! Validators that nobody here wrote.

use std::path::Path;

use crate::{node, python};

/// How many files of each kind are valid.
#[derive(Debug, PartialEq, Eq)]
pub struct Validated {
    /// Workbooks in the folder.
    pub workbooks: u64,
    /// Mails in the folder.
    pub mails: u64,
    /// How many of them have an HTML part.
    pub pages: u64,
    /// Workbooks attached to them.
    pub attachments: u64,
}

/// Validates all workbooks with Microsoft's Open XML SDK, and all mails with mailparser,
/// html-validate and Python's strict policy.
///
/// # Panics
/// One of them is not valid.
pub fn validate(folder: &Path) -> Validated {
    let output = node::run("validate.mjs", &[folder]);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    let counts: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let count = |name: &str| counts[name].as_u64().unwrap();
    let strict = python::run("strict_mail.py", &[folder]);
    assert_eq!(strict.trim(), count("mails").to_string());
    Validated {
        workbooks: count("workbooks"),
        mails: count("mails"),
        pages: count("pages"),
        attachments: count("attachments"),
    }
}
