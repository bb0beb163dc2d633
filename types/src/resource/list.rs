//! Pages of jobs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Media;
use crate::{
    job_id::JobId,
    request::{Model, Prompt},
    schema::example,
    status::JobStatus,
};

/// Page of jobs, with the cursor of the next page.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("job_page.json")))]
pub struct JobPage {
    /// Jobs that have not ended, newest first; then jobs that have ended, the last one first; then
    /// jobs past Temporal's retention period, by the day of their acceptance, the last day first.
    pub jobs: Vec<JobSummary>,
    /// Value of `cursor` to request the next page with; null on the last page.
    pub next_cursor: Option<String>,
}

/// Job in a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct JobSummary {
    /// Id of the job.
    pub job_id: JobId,
    /// Status of the job a moment ago; `pending` jobs are listed as `processing`.
    pub status: JobStatus,
    /// Model of the request.
    pub model: Model,
    /// Time of the job's acceptance, or of its last retry.
    pub created_at: Timestamp,
    /// Time of the job's end.
    pub completed_at: Option<Timestamp>,
    /// Prompt of the request; null without `expand=media`, and while it cannot be read.
    pub prompt: Option<Prompt>,
    /// Outputs by position, the first 100 of them; null without `expand=media`, and while they
    /// cannot be read.
    pub media: Option<Vec<Media>>,
    /// Links to related resources.
    pub links: SummaryLinks,
}

/// Links to the resources of a job in a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct SummaryLinks {
    /// The job itself.
    #[serde(rename = "self")]
    pub this: String,
}
