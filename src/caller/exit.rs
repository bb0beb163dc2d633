//! Exit codes of the caller's commands.

use std::process::ExitCode;

use darkroom_client::{
    Error,
    types::{failure::FailureType, problem::Kind, resource::Job, status::JobStatus},
};

/// The exit codes. Scripts rely on them, so they never change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// The command succeeded.
    Success = 0,
    /// Any failure that has no code of its own.
    Error = 1,
    /// The arguments cannot be parsed or are not acceptable. clap exits with it as well.
    Usage = 2,
    /// The job is partial: some outputs are stored, some could not be.
    Partial = 3,
    /// The API key is missing, or does not permit the request.
    NotAuthorized = 4,
    /// The job failed.
    Failed = 5,
    /// The job was canceled.
    Canceled = 6,
    /// The job is still running after `--timeout`.
    StillRunning = 7,
    /// The job ended with a submission in doubt, and is not submitted again without the
    /// caller's consent, as the provider might charge twice.
    InDoubt = 8,
    /// Ctrl-C: 128 + SIGINT, as in shells.
    Interrupted = 130,
}

impl Exit {
    /// Exit code for the status of a job.
    pub(crate) fn of_job(job: &Job) -> Self {
        let is_in_doubt = job
            .error
            .as_ref()
            .is_some_and(|error| error.kind == FailureType::SubmissionUnknown);
        match job.status {
            JobStatus::Pending | JobStatus::Processing => Self::StillRunning,
            JobStatus::Completed => Self::Success,
            JobStatus::Partial => Self::Partial,
            JobStatus::Failed if is_in_doubt => Self::InDoubt,
            JobStatus::Failed => Self::Failed,
            JobStatus::Canceled => Self::Canceled,
        }
    }

    /// Exit code for an error.
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
