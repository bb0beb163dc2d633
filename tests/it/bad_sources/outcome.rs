//! Expected end of a job with one output, and the check that a job ends so.

use std::{fmt::Debug, time::Duration};

use darkroom_client::types::{
    failure::FailureType,
    job_id::JobId,
    resource::{Job, Media},
    status::JobStatus,
};
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;

use super::{Case, STACK};
use crate::support::{
    context::TestContext,
    harness::{directory_of, failure_type, until},
    processes::log_of,
    workflows::{pending_activities, workflow_handle},
};

/// Deadline for the end of a job that is not canceled.
const DEADLINE: Duration = Duration::from_mins(2);

/// Expected end of a job.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// The output is stored, with this number of attempts.
    Stored { attempts: u32 },
    /// The output fails for good, with this type.
    Failed(FailureType),
    /// The output is retried without end, for failures of this type.
    Retried(FailureType),
}

impl TestContext {
    /// Waits for the end of a job. Cancels a job that is retried without end.
    ///
    /// # Errors
    /// If it does not end as expected.
    pub(super) async fn check(&self, name: &str, case: &Case) -> Result<(), String> {
        match case.expected {
            Outcome::Stored { attempts } => {
                let job = self.api.ended_within(&case.id, DEADLINE).await;
                let media = output(name, &job)?;
                compare(name, job.status, JobStatus::Completed)
                    .map_err(|error| format!("{error} {job:#?}"))?;
                compare(name, media.attempts, Some(attempts)).or_else(|mismatch| {
                    // A loaded machine may have timed out an attempt, which then logs no failure.
                    let is_timed_out =
                        media.attempts > Some(attempts) && failed_attempts(&case.id) < attempts;
                    is_timed_out.then_some(()).ok_or(mismatch)
                })?;
                self.check_bytes(media).await
            }
            Outcome::Failed(failure) => {
                let job = self.api.ended_within(&case.id, DEADLINE).await;
                let media = output(name, &job)?;
                compare(name, failure_type(media.error.as_ref()), Some(failure))
            }
            Outcome::Retried(failure) => {
                self.until_retried(&case.id, failure).await;
                let canceled = self.api.act(&case.id, "cancel").await;
                assert!(canceled.status().is_success());
                let job = self.api.ended(&case.id).await;
                compare(name, job.status, JobStatus::Canceled)
            }
        }
    }

    /// Waits until an activity of a job is retried, and asserts the type of its last failure. A
    /// heartbeat timeout, which a loaded machine may cause, is not judged: the next failure is.
    async fn until_retried(&self, id: &JobId, expected: FailureType) {
        let handle = workflow_handle(&self.stack, id).await;
        until(&format!("retry of {id} for {expected}"), async || {
            let pending = pending_activities(&handle).await;
            let failure = pending
                .iter()
                .find(|activity| activity.attempt >= 2)?
                .last_failure
                .clone()?;
            let Some(FailureInfo::ApplicationFailureInfo(info)) = failure.failure_info else {
                return None;
            };
            assert_eq!(
                info.r#type,
                expected.to_string(),
                "{id}: {}",
                failure.message
            );
            Some(())
        })
        .await;
    }
}

/// Number of attempts of a job to store its output that the worker has logged as failed.
fn failed_attempts(id: &JobId) -> u32 {
    let log = log_of(&directory_of(STACK), "worker");
    let failed = log.lines().filter(|line| {
        line.contains(r#""message":"attempt failed""#) && line.contains(&id.to_string())
    });
    u32::try_from(failed.count()).unwrap()
}

/// The output of a job.
///
/// # Errors
/// If it has none.
fn output<'a>(name: &str, job: &'a Job) -> Result<&'a Media, String> {
    job.media
        .first()
        .ok_or_else(|| format!("{name}: no outputs: {job:#?}"))
}

/// Compares a property of a job with the expected one.
///
/// # Errors
/// If they differ.
fn compare<T: Copy + Debug + PartialEq>(name: &str, actual: T, expected: T) -> Result<(), String> {
    if actual == expected {
        Ok(())
    } else {
        Err(format!("{name}: {actual:?} instead of {expected:?}"))
    }
}
