//! How a command ends: what a script is told.

use std::process::ExitCode;

use darkroom_client::{
    Error,
    types::{failure::FailureType, problem::Kind, resource::Job, status::JobStatus},
};

/// The exit codes. They are stable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// All went as it was meant to.
    Success = 0,
    /// It did not.
    Error = 1,
    /// The arguments cannot be read, or are not acceptable; clap's as well.
    Usage = 2,
    /// Some outputs are stored, some could not be.
    Partial = 3,
    /// The key is missing, or not good for this.
    NotAuthorized = 4,
    /// Nothing is stored.
    Failed = 5,
    /// The job was canceled.
    Canceled = 6,
    /// The job goes on; the time that it was to be waited for is over.
    StillRunning = 7,
    /// Nobody can tell whether the provider has the work, and it is not bought a second time
    /// unasked.
    Parked = 8,
    /// Ctrl-C, as a shell counts it.
    Interrupted = 130,
}

impl Exit {
    /// What became of a job.
    pub(crate) fn of_job(job: &Job) -> Self {
        let is_parked = job
            .error
            .as_ref()
            .is_some_and(|error| error.kind == FailureType::SubmissionUnknown);
        match job.status {
            JobStatus::Pending | JobStatus::Processing => Self::StillRunning,
            JobStatus::Completed => Self::Success,
            JobStatus::Partial => Self::Partial,
            JobStatus::Failed if is_parked => Self::Parked,
            JobStatus::Failed => Self::Failed,
            JobStatus::Canceled => Self::Canceled,
        }
    }

    /// What an error is.
    pub(crate) fn of_error(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<Error>().and_then(Error::kind) {
            Some(Kind::Unauthenticated | Kind::Forbidden) => Self::NotAuthorized,
            _ => Self::Error,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
