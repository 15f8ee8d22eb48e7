//! What a sweep or the check of one run finds, and what repairs it.

use rowmill_domain::event::{Invocation, ObjectCreated, Reported};
use rowmill_domain::job::{JobId, JobName};
use rowmill_domain::message::RunMessage;
use rowmill_domain::run::Failure;
use rowmill_domain::{RunId, keys};
use rowmill_runs::{Transition, fail, publish_failure, publish_stop, retry_throttled};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::CleanupError;
use crate::stage::Cleanup;
use crate::sweep::Mode;

/// Something that a sweep or the check of one run found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// An upload started no run: its event was lost, or every attempt to handle it ended before it
    /// created the run. Split gets it again.
    UploadIgnored {
        /// The run that it starts.
        run: RunId,
        /// The upload.
        upload: ObjectCreated,
    },
    /// All attempts to split the run ended: the run fails, and report gets the failure.
    SplitAbandoned {
        /// The run.
        run: RunId,
        /// The file.
        file: String,
    },
    /// The run had failed, but report did not handle it: report gets the failure again.
    FailureUnreported {
        /// The run.
        run: RunId,
        /// Why the run failed.
        failure: Failure,
    },
    /// Jobs of the run were not submitted: submit gets the message again.
    NotSubmitted {
        /// The run.
        run: RunId,
    },
    /// The run is stopped, but jobs of it are left: submit gets the message again.
    NotStopped {
        /// The run.
        run: RunId,
    },
    /// All jobs of the run have ended, or report had started, but the email is not sent: report checks
    /// the run.
    NotReported {
        /// The run.
        run: RunId,
    },
    /// A job is recorded, but Batch does not know it. It counts as ended, and report checks the run.
    JobLost {
        /// The run.
        run: RunId,
        /// The job.
        job: JobName,
        /// Its id.
        id: JobId,
    },
    /// A job of the second round has waited for a long time while nothing runs. It waits for capacity,
    /// so nothing is done about it.
    JobWaits {
        /// The run.
        run: RunId,
        /// The job.
        job: JobName,
        /// The reason that Batch gives. Empty if it gives none.
        why: String,
    },
    /// A job has waited for a long time while nothing runs, or Batch says that it can never start: it is
    /// terminated, and report gets its end like any other.
    JobStuck {
        /// The run.
        run: RunId,
        /// The job.
        job: JobName,
        /// Its id.
        id: JobId,
        /// Why it is terminated.
        why: String,
    },
    /// The run has ended, but its temporary data still exists: it is removed.
    NotCleaned {
        /// The run.
        run: RunId,
    },
    /// A table belongs to no run, or to a cleaned run: it is dropped.
    StrayTable {
        /// The run in its name.
        run: RunId,
    },
    /// Temporary objects belong to no run, or to a cleaned run: they are deleted.
    StrayObjects {
        /// The run in their names.
        run: RunId,
    },
    /// No live run uses a job definition: it is deregistered.
    StrayDefinition {
        /// Its ARN.
        arn: String,
    },
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// What the sweep found, in order.
    pub findings: Vec<Finding>,
    /// What could not be looked at or repaired. The next sweep tries again.
    pub errors: Vec<CleanupError>,
}

impl Swept {
    /// The result as JSON, for people and programs.
    pub fn json(&self, mode: Mode) -> Value {
        let findings = self.findings.iter().map(|finding| {
            // An enum with a tag is an object.
            let mut json = serde_json::to_value(finding).unwrap_or_default();
            json["what"] = finding.what().into();
            json["repair"] = finding.repair().into();
            json
        });
        let errors = self.errors.iter().map(ToString::to_string);
        json!({
            "dry_run": mode == Mode::DryRun,
            "findings": findings.collect::<Value>(),
            "errors": errors.collect::<Value>(),
        })
    }
}

impl Finding {
    /// What was found, in words.
    pub fn what(&self) -> String {
        match self {
            Finding::UploadIgnored { run, upload } => {
                format!("{run}: the upload {} started no run", upload.key)
            }
            Finding::SplitAbandoned { run, file } => {
                format!("{run}: {file} was not read to its end")
            }
            Finding::FailureUnreported { run, .. } => format!("{run}: it failed without an email"),
            Finding::NotSubmitted { run } => format!("{run}: jobs are not submitted"),
            Finding::NotStopped { run } => format!("{run}: it is stopped, but has jobs"),
            Finding::NotReported { run } => {
                format!("{run}: its jobs have ended, but there is no email")
            }
            Finding::JobLost { run, job, .. } => format!("{run}: Batch does not know job {job}"),
            Finding::JobWaits { run, job, why } => {
                format!("{run}: job {job} waits for capacity: {why}")
            }
            Finding::JobStuck { run, job, why, .. } => format!("{run}: job {job}: {why}"),
            Finding::NotCleaned { run } => format!("{run}: it has ended, but has temporary data"),
            Finding::StrayTable { run } => format!("{run}: a table without a run"),
            Finding::StrayObjects { run } => format!("{run}: temporary objects without a run"),
            Finding::StrayDefinition { arn } => format!("no run uses job definition {arn}"),
        }
    }

    /// What repairs it, in words.
    pub fn repair(&self) -> &'static str {
        match self {
            Finding::UploadIgnored { .. } => "split the upload",
            Finding::SplitAbandoned { .. } => "fail the run, with an email",
            Finding::FailureUnreported { .. } => "send the email",
            Finding::NotSubmitted { .. } => "submit the rest",
            Finding::NotStopped { .. } => "stop the jobs",
            Finding::NotReported { .. } => "report the run",
            Finding::JobLost { .. } => "count the job as ended",
            Finding::JobWaits { .. } => "none: it starts when there is capacity",
            Finding::JobStuck { .. } => "terminate the job",
            Finding::NotCleaned { .. } => "remove the data",
            Finding::StrayTable { .. } => "drop the table",
            Finding::StrayObjects { .. } => "delete the objects",
            Finding::StrayDefinition { .. } => "deregister the definition",
        }
    }
}

impl Cleanup {
    /// Repairs what was found. Safe to repeat: what has changed since is left alone.
    pub(crate) async fn repair(
        &self,
        finding: &Finding,
        cx: &Invocation,
    ) -> Result<(), CleanupError> {
        let (runs, topic) = (&*self.runs, &*self.topic);
        match finding {
            Finding::UploadIgnored { upload, .. } => {
                topic.publish(&RunMessage::Upload(upload.clone())).await?;
            }
            Finding::SplitAbandoned { run, file } => {
                let (failure, change) = (abandoned(file), Transition::FailSplit);
                fail(runs, topic, run, change, failure, None, cx.now).await?;
            }
            Finding::FailureUnreported { run, failure } => {
                publish_failure(topic, run, failure.clone()).await?;
            }
            Finding::NotSubmitted { run } => {
                topic
                    .publish(&RunMessage::Split { run: run.clone() })
                    .await?;
            }
            Finding::NotStopped { run } => publish_stop(topic, run).await?,
            Finding::NotReported { run } => self.check(run).await?,
            Finding::JobLost { run, job, id } => {
                runs.job_ended(run, job, id).await?;
                self.check(run).await?;
            }
            Finding::JobWaits { .. } => {}
            Finding::JobStuck { id, why, .. } => {
                retry_throttled(|| self.jobs.terminate(id, why)).await?;
            }
            Finding::NotCleaned { run } => {
                self.handle(&Reported { run: run.clone() }, cx).await?;
            }
            Finding::StrayTable { run } => self.outcomes.drop_table(run).await?,
            Finding::StrayObjects { run } => {
                self.work.delete_all(&keys::run_prefix(run)).await?;
            }
            Finding::StrayDefinition { arn } => self.jobs.deregister(arn).await?,
        }
        Ok(())
    }

    async fn check(&self, run: &RunId) -> Result<(), CleanupError> {
        let check = RunMessage::Check { run: run.clone() };
        Ok(self.topic.publish(&check).await?)
    }
}

fn abandoned(file: &str) -> Failure {
    Failure {
        stage: "split".into(),
        what: format!(
            "{file}: reading the file did not finish (timeout, out of memory, or a service failed)"
        ),
        advice: "Upload the file again. If that fails too, divide it into several workbooks, or \
                 increase the memory of the split function."
            .into(),
    }
}
