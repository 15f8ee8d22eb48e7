//! Raw emails as SES receives them, stored by moto.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::emulators::Emulator;
use crate::http;

/// An email, decoded by Python's `email`.
#[derive(Debug)]
pub struct Mail {
    /// The sorted recipients.
    pub to: Vec<String>,
    /// Headers and parts in one text.
    pub text: String,
    /// The names of the attachments.
    pub attachments: Vec<String>,
    folder: TempDir,
}

/// Creates the SES resources of the template.
pub(super) async fn prepare(moto: &Emulator, sender: &str, configuration_set: &str) {
    let calls = [
        ("identities", json!({ "EmailIdentity": sender })),
        (
            "configuration-sets",
            json!({ "ConfigurationSetName": configuration_set }),
        ),
    ];
    for (path, body) in calls {
        let request = http::client()
            .post(format!("{}/v2/email/{path}", moto.url()))
            .header("content-type", "application/json")
            .header("authorization", super::stack::signed_for("ses"))
            .body(body.to_string());
        let response = request.send().await.unwrap();
        let status = response.status();
        assert!(status.is_success(), "{}", response.text().await.unwrap());
    }
}

/// All emails that moto received, oldest first.
pub(super) fn all(moto: &Emulator) -> Vec<Mail> {
    let state: Value = serde_json::from_str(&moto.http("GET", "/moto-api/data.json", "")).unwrap();
    let raw = state["ses"]["RawMessage"].as_array().cloned();
    raw.unwrap_or_default().iter().map(Mail::read).collect()
}

impl Mail {
    fn read(raw: &Value) -> Mail {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("mail.eml");
        let text = raw["raw_data"].as_str().unwrap();
        std::fs::File::create(&file)
            .and_then(|mut f| f.write_all(text.as_bytes()))
            .unwrap();
        let text = rowmill_tests_local::python::run("read_mail.py", &[&file, folder.path()]);
        let names = text.lines().filter_map(|line| {
            let part = line.strip_prefix("--- ")?;
            let (_, name) = part.split_once(' ')?;
            (!name.is_empty()).then(|| name.to_owned())
        });
        let to = raw["destinations"].as_array().unwrap().iter();
        let mut to: Vec<_> = to.map(|t| t.as_str().unwrap().to_owned()).collect();
        // moto adds the recipients of the header to those of the call.
        to.sort();
        to.dedup();
        Mail {
            to,
            attachments: names.collect(),
            text,
            folder,
        }
    }

    /// The value of a header; empty if the header is missing.
    pub fn header(&self, name: &str) -> &str {
        let headers = self
            .text
            .lines()
            .take_while(|line| !line.starts_with("--- "));
        let mut values = headers.filter_map(|line| line.split_once(": "));
        values.find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }

    /// The path of an attachment.
    #[track_caller]
    pub fn attachment(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        assert!(path.is_file(), "{name} is not in {}", self.text);
        path
    }
}
