//! Where jobs and outputs stand.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a job stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Accepted; nothing was asked of the provider yet.
    Pending,
    /// Under way.
    Processing,
    /// Every output is stored.
    Completed,
    /// Some outputs are stored, some could not be.
    Partial,
    /// Nothing is stored.
    Failed,
    /// Ended by request; what was stored by then stays.
    Canceled,
}

impl JobStatus {
    /// Whether the job has ended.
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

/// What an unfinished job is busy with.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Waits for its turn at the provider.
    Queued,
    /// The provider has it.
    Generating,
    /// The provider may have it: the answer to its submission is lost, and it is looked for.
    Reconciling,
    /// Outputs are moved into the store.
    Persisting,
    /// The manifest is written.
    Finalizing,
}

/// Where an output stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MediaStatus {
    /// Not settled yet.
    Pending,
    /// Stored, whole and verified.
    Completed,
    /// Could not be stored.
    Failed,
    /// The job was canceled first.
    Canceled,
}
