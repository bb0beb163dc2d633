//! Statuses of jobs and outputs, and stages of jobs.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Status of a job.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Accepted; nothing has been submitted to the provider yet.
    Pending,
    /// In progress.
    Processing,
    /// Every output is stored.
    Completed,
    /// Some outputs are stored; others could not be.
    Partial,
    /// No output is stored.
    Failed,
    /// Canceled by request; outputs that were stored by then are kept.
    Canceled,
}

impl JobStatus {
    /// Returns true if the job has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Processing => false,
            Self::Completed | Self::Partial | Self::Failed | Self::Canceled => true,
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        })
    }
}

/// Stage of a job that has not ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Waiting for a slot at the provider.
    Queued,
    /// Submitted: the prediction runs at the provider.
    Generating,
    /// In doubt: the answer to the submission is lost, and the provider is searched for the
    /// prediction.
    Reconciling,
    /// Transferring outputs to the store.
    Persisting,
    /// Writing the manifest.
    Finalizing,
}

/// Status of an output.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MediaStatus {
    /// Neither stored nor given up yet.
    Pending,
    /// Stored completely, and verified.
    Completed,
    /// Not stored: see the error of the output.
    Failed,
    /// Not stored: the job was canceled first.
    Canceled,
}
