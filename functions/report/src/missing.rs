//! Why records have no outcome: the child that should have processed them failed.

use std::collections::HashMap;

use futures::TryStreamExt;
use rowmill_domain::job::{JobDetail, JobId, JobStatus};
use rowmill_domain::manifest::ChunkPlan;
use rowmill_domain::run::Stop;
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
    /// Asks Batch why children of this chunk failed. In a stopped run, records are missing
    /// because it was stopped, unless their child had failed.
    pub(crate) async fn missing_reasons(
        &self,
        plan: &ChunkPlan,
        phases: u16,
        ended: &EndedJobs,
    ) -> Result<MissingReasons, PortError> {
        let mut children: HashMap<u32, String> = HashMap::new();
        let stop = ended.stop.as_ref();
        let mut otherwise = stop.map(Stop::missing);
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
            for child in self.failed_children(job).await? {
                // It was ended before it started, or its dependency was.
                if stop.is_some() && child.exit_code.is_none() {
                    continue;
                }
                // The failure in the first phase is the cause: later phases depend on it.
                children
                    .entry(child.array_index.unwrap_or(0))
                    .or_insert_with(|| failure(&child));
            }
            otherwise.get_or_insert(parent);
        }
        self.second_reasons(plan, phases, ended, &mut children)
            .await?;
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

    /// Replaces the reasons of the children that ran again, and failed again.
    async fn second_reasons(
        &self,
        plan: &ChunkPlan,
        phases: u16,
        ended: &EndedJobs,
        children: &mut HashMap<u32, String>,
    ) -> Result<(), PortError> {
        let round = ended.second.as_ref().map(|(round, _)| round);
        let Some(again) = round.and_then(|round| round.chunk(plan.chunk)) else {
            return Ok(());
        };
        let mut replaced: HashMap<u32, String> = HashMap::new();
        for phase in 0..phases {
            let Some(job) = ended.second_job(plan.chunk, phase) else {
                continue;
            };
            for child in self.failed_children(job).await? {
                if let Some(first) = again.child(child.array_index.unwrap_or(0)) {
                    let reason = replaced.entry(first);
                    reason.or_insert_with(|| format!("in the second round, {}", failure(&child)));
                }
            }
        }
        children.extend(replaced);
        Ok(())
    }

    /// The failed children of a job, as DescribeJobs describes them. A plain job is its own only
    /// child.
    pub(crate) async fn failed_children(
        &self,
        job: &JobDetail,
    ) -> Result<Vec<JobDetail>, PortError> {
        if job.status != JobStatus::Failed {
            return Ok(Vec::new());
        }
        if job.array_size.is_none() {
            return Ok(vec![job.clone()]);
        }
        let filter = JobFilter::Children {
            parent: job.id.clone(),
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
    if let Some(advice) = facts.iter().find_map(|fact| secret_advice(fact)) {
        facts.push(advice.to_owned());
    }
    match facts.is_empty() {
        true => format!("the job failed ({which})"),
        false => format!("the job failed ({which}): {}", facts.join("; ")),
    }
}

/// What to do about a secret that ECS could not read for the container. Source: Amazon ECS, "Stopped tasks
/// error messages", ResourceInitializationError, with the error of Secrets Manager or Parameter Store.
fn secret_advice(fact: &str) -> Option<&'static str> {
    if !fact.contains("ResourceInitializationError") {
        return None;
    }
    let refused = fact.contains("AccessDenied");
    if refused && (fact.contains("KMS") || fact.contains("kms:")) {
        return Some(
            "the secret is encrypted with a customer-managed KMS key that the stack may not use: add \
             the key's ARN to the parameter SecretKeyArns of the stack",
        );
    }
    let secret = ["from asm", "from ssm", "secretsmanager", "ssm:"];
    if !secret.iter().any(|part| fact.contains(part)) {
        return None;
    }
    if refused {
        return Some(
            "the stack may not read the secret: add its ARN to the parameter SecretArns of the stack",
        );
    }
    let absent = [
        "ResourceNotFound",
        "ParameterNotFound",
        "invalid ssm parameters",
    ];
    absent
        .iter()
        .any(|part| fact.contains(part))
        .then_some("the secret does not exist: create it, or correct `[secrets]` in the pipeline")
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
            children: Default::default(),
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
    fn a_secret_that_cannot_be_read_has_advice() {
        let asm = "ResourceInitializationError: unable to pull secrets or registry auth: execution \
                   resource retrieval failed: unable to retrieve secret from asm: service call has \
                   been retried 1 time(s): failed to fetch secret arn:aws:secretsmanager:\
                   eu-central-1:123456789012:secret:rowmill/key from secrets manager: \
                   AccessDeniedException: Access to KMS is not allowed";
        let names = |fact: &str, part: &str| {
            let advice = secret_advice(fact).unwrap_or_default();
            assert!(advice.contains(part), "{fact}: {advice}");
        };
        names(asm, "SecretKeyArns");
        names(
            "ResourceInitializationError: AccessDeniedException: not authorized to perform: kms:Decrypt",
            "SecretKeyArns",
        );
        let error = "AccessDeniedException: Access to KMS is not allowed";
        names(
            &asm.replace(error, "AccessDeniedException: not authorized"),
            "SecretArns",
        );
        names(
            &asm.replace(error, "ResourceNotFoundException: no such secret"),
            "create it",
        );
        // The network, or another resource.
        for other in [
            asm.replace(error, "RequestError: send request failed"),
            "ResourceInitializationError: AccessDeniedException: ecr:GetAuthorizationToken".into(),
            "CannotPullContainerError: no such image".into(),
        ] {
            assert_eq!(secret_advice(&other), None, "{other}");
        }
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
