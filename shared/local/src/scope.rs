//! Whose messages and jobs a command works on.

use rowmill_domain::job::JobName;
use rowmill_domain::{RunId, RunItem};
use rowmill_events::{ToSplit, to_split};
use serde_json::Value;

use crate::bus::Target;

/// One run, whose messages and jobs a command works on. Those of other runs stay as they are, so that a
/// run continues only by its own command.
#[derive(Clone, Debug, PartialEq)]
pub struct RunScope {
    /// The run.
    pub id: RunId,
    /// The key of its upload.
    pub key: String,
    /// The version of its upload. Other files with the same content have the same version.
    pub version: String,
}

impl RunScope {
    /// The scope of a run.
    pub fn of(run: &RunItem) -> RunScope {
        RunScope {
            id: run.id.clone(),
            key: run.source.key.clone(),
            version: run.source.version.clone(),
        }
    }

    /// Whether a message is about the run: it names the run, one of its jobs, or its upload.
    pub fn has_message(&self, target: Target, payload: &Value) -> bool {
        if target == Target::Split {
            let events = to_split(payload).unwrap_or_default();
            return events.iter().any(|event| match event {
                ToSplit::Created(upload) => {
                    self.id.retry_number().is_none()
                        && upload.key == self.key
                        && upload.version == self.version
                }
                ToSplit::Retry(request) => request.id().as_ref() == Some(&self.id),
            });
        }
        names(payload, &self.id)
    }

    /// Whether a job is one of the run.
    pub(crate) fn has_job(&self, name: &JobName) -> bool {
        JobName::parse(&name.0).is_some_and(|(run, ..)| run == self.id)
    }
}

/// Whether a message names the run, and not only one of its retries.
pub(crate) fn names(payload: &Value, run: &RunId) -> bool {
    let (text, id) = (payload.to_string(), run.as_str());
    // The id of a run is the start of the ids of its retries.
    let is_whole = |at: usize| {
        let rest = text.get(at + id.len()..).unwrap_or_default();
        !rest.starts_with("-r") && !rest.starts_with(|c: char| c.is_ascii_digit())
    };
    text.match_indices(id).any(|(at, _)| is_whole(at))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use rowmill_domain::message::RunMessage;
    use rowmill_ports::ObjectInfo;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_about_the_run_or_its_upload_and_no_other() {
        let scope = RunScope {
            id: "20261121-p-0123456789ab".parse().unwrap(),
            key: "p/my file.csv".to_owned(),
            version: "v1".to_owned(),
        };
        let upload = |key: &str, version: &str| {
            let object = ObjectInfo {
                key: key.to_owned(),
                size: 1,
                etag: "e".to_owned(),
                version: Some(version.to_owned()),
                modified: Utc::now(),
                metadata: Default::default(),
            };
            scope.has_message(Target::Split, &crate::inbox_event("inbox", &object))
        };
        assert!(upload("p/my file.csv", "v1"));
        assert!(!upload("p/my file.csv", "v2"));
        assert!(!upload("p/copy.csv", "v1"), "the same content");
        for (run, expected) in [
            ("20261121-p-0123456789ab", true),
            ("20261121-p-0123456789ac", false),
        ] {
            let run: RunId = run.parse().unwrap();
            let split = RunMessage::Split { run: run.clone() };
            let event = rowmill_events::sns_messages_event(&split, "1", Utc::now());
            assert_eq!(scope.has_message(Target::Submit, &event), expected);
            assert_eq!(scope.has_job(&JobName::new(&run, 0, 0)), expected);
        }
        let sweep = rowmill_events::schedule_event(Utc::now());
        assert!(!scope.has_message(Target::Cleanup, &sweep));
    }

    #[test]
    fn a_message_is_about_one_run_and_not_its_retries() {
        let run: RunId = "20261121-reviews-0123456789ab".parse().unwrap();
        let retry = run.next_retry().unwrap();
        let tenth: RunId = format!("{run}-r10").parse().unwrap();
        let of = |run: &RunId| json!({ "Message": format!("{{\"run\":\"{run}\"}}") });
        let job = |run: &RunId| json!({ "job": format!("{run}-c00000-p0") });
        let request = json!({ "kind": "retry", "run": run });
        for (target, message, about) in [
            (Target::Submit, of(&run), [true, false, false]),
            (Target::Submit, of(&retry), [false, true, false]),
            (Target::Submit, of(&tenth), [false, false, true]),
            (Target::Report, job(&run), [true, false, false]),
            (Target::Report, job(&retry), [false, true, false]),
            (Target::Split, request, [false, true, false]),
        ] {
            let found = [&run, &retry, &tenth].map(|run| {
                let scope = RunScope {
                    id: run.clone(),
                    key: "reviews/a.csv".to_owned(),
                    version: "v1".to_owned(),
                };
                scope.has_message(target, &message)
            });
            assert_eq!(found, about, "{message}");
        }
    }
}
