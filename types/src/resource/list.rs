//! Jobs in a list.

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

/// Some jobs, and where there are more.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("job_page.json")))]
pub struct JobPage {
    /// The unfinished ones first, newest first; then those that have ended, the last one first; then those that Temporal has
    /// forgotten, by the day on which they were accepted, the last day first.
    pub jobs: Vec<JobSummary>,
    /// What `cursor` to ask for the next page with; null on the last.
    pub next_cursor: Option<String>,
}

/// A job in a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct JobSummary {
    /// Which job.
    pub job_id: JobId,
    /// Where it stood a moment ago; jobs that wait for their turn are listed as `processing`.
    pub status: JobStatus,
    /// The model that was asked for.
    pub model: Model,
    /// When it was accepted, or taken up again.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// What to make; null unless `expand=media` asks for it.
    pub prompt: Option<Prompt>,
    /// The outputs, by position, the first 100 of them; null unless `expand=media` asks for them.
    pub media: Option<Vec<Media>>,
    /// Where to go from it.
    pub links: SummaryLinks,
}

/// Where to go from a job in a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct SummaryLinks {
    /// The job itself.
    #[serde(rename = "self")]
    pub this: String,
}
