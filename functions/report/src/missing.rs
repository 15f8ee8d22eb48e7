//! Why records have no outcome: the child that should have processed them failed.

use std::collections::HashMap;

use futures::TryStreamExt;
use rowmill_domain::job::{JobDetail, JobId, JobStatus};
use rowmill_domain::manifest::ChunkPlan;
use rowmill_ports::{JobFilter, PortError};
use rowmill_runs::{all_jobs, describe_jobs};

use crate::jobs::EndedJobs;
use crate::stage::Report;

/// Why records of a chunk are missing.
pub(crate) struct MissingReasons {
    plan: ChunkPlan,
    /// By child: why it failed, in the first phase in which it did.
    children: HashMap<u32, String>,
    /// The reason of children that did not fail according to Batch.
    otherwise: String,
}

impl MissingReasons {
    /// Why the record at this position in the chunk, counted from 0, is missing.
    pub(crate) fn reason(&self, place: usize) -> String {
        let child = self.plan.child_of(place);
        self.children.get(&child).unwrap_or(&self.otherwise).clone()
    }
}

impl Report {
    /// Asks Batch why children of this chunk failed.
    pub(crate) async fn missing_reasons(
        &self,
        plan: &ChunkPlan,
        phases: u16,
        ended: &EndedJobs,
    ) -> Result<MissingReasons, PortError> {
        let mut children: HashMap<u32, String> = HashMap::new();
        let mut otherwise = None;
        for phase in 0..phases {
            let Some(job) = ended.job(plan.chunk, phase) else {
                otherwise.get_or_insert_with(|| {
                    format!(
                        "no result was stored, and AWS Batch no longer has a record of the job \
                         (chunk {}, phase {})",
                        plan.chunk,
                        phase + 1
                    )
                });
                continue;
            };
            if job.status != JobStatus::Failed {
                continue;
            }
            let parent = failure(job);
            let failed = match job.array_size {
                Some(_) => self.failed_children(&job.id).await?,
                None => vec![job.clone()],
            };
            for child in failed {
                // The failure in the first phase is the cause: later phases depend on it.
                children
                    .entry(child.array_index.unwrap_or(0))
                    .or_insert_with(|| failure(&child));
            }
            otherwise.get_or_insert(parent);
        }
        Ok(MissingReasons {
            plan: *plan,
            children,
            otherwise: otherwise.unwrap_or_else(|| {
                format!(
                    "no result was stored, although the jobs of chunk {} succeeded",
                    plan.chunk
                )
            }),
        })
    }

    /// The failed children of an array job, as DescribeJobs describes them.
    async fn failed_children(&self, parent: &JobId) -> Result<Vec<JobDetail>, PortError> {
        let filter = JobFilter::Children {
            parent: parent.clone(),
            status: JobStatus::Failed,
        };
        let listed = all_jobs(&*self.jobs, &filter).map_ok(|job| job.id);
        let ids: Vec<JobId> = listed.try_collect().await?;
        describe_jobs(&*self.jobs, &ids).await
    }
}

/// Why a job or child failed, in words.
fn failure(job: &JobDetail) -> String {
    let mut which = format!("job {}", job.name);
    if let Some(index) = job.array_index {
        which += &format!(", child {index}");
    }
    if job.attempts > 1 {
        which += &format!(", {} attempts", job.attempts);
    }
    let mut facts: Vec<String> = Vec::new();
    for reason in [&job.reason, &job.status_reason].into_iter().flatten() {
        if !reason.is_empty() && !facts.contains(reason) {
            facts.push(reason.clone());
        }
    }
    if let Some(code) = job.exit_code {
        facts.push(match exit_meaning(code) {
            Some(meaning) => format!("exit code {code} ({meaning})"),
            None => format!("exit code {code}"),
        });
    }
    if let Some(log) = &job.log {
        // Quoted, so that reasons that differ only in their logs count as one.
        facts.push(format!("its output is in `{log}`"));
    }
    if facts.iter().any(|fact| is_refused_by_kms(fact)) {
        facts.push(
            "the secret is encrypted with a customer-managed KMS key that the stack may not use: add \
             the key's ARN to the parameter SecretKeyArns of the stack"
                .to_owned(),
        );
    }
    match facts.is_empty() {
        true => format!("the job failed ({which})"),
        false => format!("the job failed ({which}): {}", facts.join("; ")),
    }
}

/// Whether ECS could not decrypt a secret for the container. Source: Amazon ECS, "Stopped tasks error
/// messages", ResourceInitializationError, with the error of Secrets Manager or Parameter Store.
fn is_refused_by_kms(fact: &str) -> bool {
    fact.contains("ResourceInitializationError")
        && fact.contains("AccessDenied")
        && (fact.contains("KMS") || fact.contains("kms:"))
}

/// The meaning of an exit code of an enrich child.
fn exit_meaning(code: i32) -> Option<&'static str> {
    use rowmill_domain::config::child_exit::{
        INTERRUPTED, MISCONFIGURED, NOT_FETCHED, UNAVAILABLE,
    };
    match u8::try_from(code).ok()? {
        NOT_FETCHED => Some("a program could not be fetched"),
        MISCONFIGURED => Some("misconfigured"),
        UNAVAILABLE => Some("a service or the machine failed"),
        INTERRUPTED => Some("stopped"),
        // 128 + SIGKILL
        137 => Some("killed, usually because it ran out of memory"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rowmill_domain::job::JobName;

    use super::*;

    #[test]
    fn a_failure_contains_what_batch_reports() {
        let mut job = JobDetail {
            id: JobId("a:3".into()),
            name: JobName("run-c00000-p0".into()),
            status: JobStatus::Failed,
            status_reason: Some("Essential container in task exited".into()),
            array_size: None,
            array_index: Some(3),
            exit_code: Some(137),
            reason: Some("OutOfMemoryError: Container killed due to memory usage".into()),
            attempts: 2,
            created_at: None,
            started_at: None,
            stopped_at: None,
            log: Some("/logs/a:3/2.log".into()),
        };
        assert_eq!(
            failure(&job),
            "the job failed (job run-c00000-p0, child 3, 2 attempts): OutOfMemoryError: Container \
             killed due to memory usage; Essential container in task exited; exit code 137 \
             (killed, usually because it ran out of memory); its output is in `/logs/a:3/2.log`"
        );
        job.log = None;
        (job.reason, job.status_reason, job.exit_code) = (None, None, None);
        (job.attempts, job.array_index) = (0, None);
        assert_eq!(failure(&job), "the job failed (job run-c00000-p0)");
    }

    #[test]
    fn a_secret_that_cannot_be_decrypted_names_the_parameter() {
        let asm = "ResourceInitializationError: unable to pull secrets or registry auth: execution \
                   resource retrieval failed: unable to retrieve secret from asm: service call has \
                   been retried 1 time(s): failed to fetch secret arn:aws:secretsmanager:\
                   eu-central-1:123456789012:secret:rowmill/key from secrets manager: \
                   AccessDeniedException: Access to KMS is not allowed";
        assert!(is_refused_by_kms(asm));
        assert!(is_refused_by_kms(
            "ResourceInitializationError: AccessDeniedException: not authorized to perform: kms:Decrypt"
        ));
        let missing = asm.replace("Access to KMS is not allowed", "not authorized");
        assert!(!is_refused_by_kms(&missing));
        assert!(!is_refused_by_kms(
            "CannotPullContainerError: no such image"
        ));
    }

    #[test]
    fn every_exit_code_of_a_failed_child_is_explained() {
        use rowmill_domain::config::child_exit;
        for code in [
            child_exit::NOT_FETCHED,
            child_exit::MISCONFIGURED,
            child_exit::UNAVAILABLE,
            child_exit::INTERRUPTED,
        ] {
            assert!(exit_meaning(code.into()).is_some(), "{code}");
        }
        assert_eq!(exit_meaning(3), None);
    }

    #[test]
    fn a_missing_record_has_the_reason_of_its_child() {
        let plan = ChunkPlan {
            chunk: 0,
            first_row: 2,
            last_row: 8,
            records: 7,
            children: 3,
        };
        let missing = MissingReasons {
            plan,
            children: HashMap::from([(0, "zero".to_owned()), (2, "two".to_owned())]),
            otherwise: "other".to_owned(),
        };
        let reasons: Vec<_> = (0..7).map(|place| missing.reason(place)).collect();
        for child in 0..3 {
            for place in plan.slice(child) {
                assert_eq!(reasons[place], ["zero", "other", "two"][child as usize]);
            }
        }
    }
}
