//! The body of a webhook message.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MediaCounts;
use crate::{
    failure::JobError,
    job_id::JobId,
    provider::{CancelOutcome, PredictionId, PredictionStatus, ProviderName},
    request::{Metadata, Model, WebhookEvent},
    schema::example,
    status::JobStatus,
};

/// Body of a webhook message, as [Standard Webhooks](https://www.standardwebhooks.com) has it. It
/// says enough to decide whether to read the job, and no more.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("webhook_payload.json")))]
pub struct WebhookPayload {
    /// End of the job.
    #[serde(rename = "type")]
    pub event: WebhookEvent,
    /// Time of the job's end.
    pub timestamp: Timestamp,
    /// The job.
    pub data: WebhookJob,
}

/// Job that has ended, as a webhook reports it. Its fields are those of a `Job`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct WebhookJob {
    /// Id of the job.
    pub job_id: JobId,
    /// Status of the job.
    pub status: JobStatus,
    /// Model of the request.
    pub model: Model,
    /// Labels of the caller.
    pub metadata: Metadata,
    /// Number of outputs in each status.
    pub media_counts: MediaCounts,
    /// State of the prediction at the provider; null if none was submitted.
    pub provider: Option<WebhookPrediction>,
    /// Time since which the job is in doubt; null if it is not.
    pub in_doubt_since: Option<Timestamp>,
    /// Reason why the job is not `completed`.
    pub error: Option<JobError>,
    /// Number of retries of the job.
    pub retry_count: u32,
    /// Time of the job's acceptance.
    pub created_at: Timestamp,
    /// Time of the job's end.
    pub completed_at: Timestamp,
}

/// State of a job's prediction, as a webhook reports it. Its fields are those of a `Provider`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct WebhookPrediction {
    /// Name of the provider.
    pub name: ProviderName,
    /// Id of the prediction at the provider.
    pub prediction_id: PredictionId,
    /// Last status of the prediction that the provider has reported.
    pub status: PredictionStatus,
    /// Outcome of a cancel request at the provider; null if there was none.
    pub cancel_outcome: Option<CancelOutcome>,
    /// Time at which the provider accepted the prediction.
    pub created_at: Option<Timestamp>,
    /// Time at which the provider started the prediction.
    pub started_at: Option<Timestamp>,
    /// Time at which the prediction ended.
    pub completed_at: Option<Timestamp>,
    /// Error message of the provider.
    pub error: Option<String>,
}
