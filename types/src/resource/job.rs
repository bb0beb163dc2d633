//! The job resource, and the server-sent events that carry it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Media, MediaCounts};
use crate::{
    api_key::KeyId,
    failure::JobError,
    job_id::JobId,
    provider::{CancelOutcome, PredictionId, PredictionStatus, ProviderName},
    request::{
        DeadlineSeconds, ExpireAfterSeconds, JobPriority, Metadata, Model, ModelInput, NumOutputs,
        OutputFormat, Prompt, WebhookEvents, WebhookUrl,
    },
    schema::example,
    status::{JobStatus, Stage},
};

/// Job: its request, its status, its outputs, and the state of its prediction.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("job.json")))]
pub struct Job {
    /// Id of the job and of its Temporal workflow.
    pub job_id: JobId,
    /// Status of the job.
    pub status: JobStatus,
    /// Stage of a job that has not ended; null if it has ended.
    pub stage: Option<Stage>,
    /// True if the state may be outdated, because no worker answered the query.
    pub stale: bool,
    /// Model of the request.
    pub model: Model,
    /// Prompt of the request.
    pub prompt: Option<Prompt>,
    /// Number of files in the request.
    pub num_outputs: NumOutputs,
    /// Seed of the request, which makes the generation repeatable.
    #[schema(format = "uint64")]
    pub seed: Option<u64>,
    /// File format of the request.
    pub output_format: Option<OutputFormat>,
    /// Deadline of the job, in seconds after its acceptance; null if there is none.
    pub deadline_seconds: Option<DeadlineSeconds>,
    /// Retention of the job, in seconds after its end; null if it is kept.
    pub expire_after_seconds: Option<ExpireAfterSeconds>,
    /// Priority among waiting jobs.
    pub priority: JobPriority,
    /// Further inputs of the model.
    pub input: ModelInput,
    /// Labels of the caller.
    pub metadata: Metadata,
    /// Webhook that is notified of the job's end.
    pub webhook_url: Option<WebhookUrl>,
    /// Events that the webhook is notified of.
    pub webhook_events: WebhookEvents,
    /// Outputs by position, the first 100 of them; empty until the provider has made them.
    pub media: Vec<Media>,
    /// Value of `cursor` to list further outputs with; null if there are none.
    pub media_next_cursor: Option<String>,
    /// Number of outputs in each status.
    pub media_counts: MediaCounts,
    /// State of the prediction at the provider; null until it is submitted.
    pub provider: Option<Provider>,
    /// Time since which the job is in doubt: the answer to its submission is lost, and the provider
    /// may have accepted it. Null if it is not in doubt.
    pub in_doubt_since: Option<Timestamp>,
    /// Reason why the job is not `completed`.
    pub error: Option<JobError>,
    /// Detail of `error`.
    pub error_message: Option<String>,
    /// Id of the API key that created the job; null if no API keys are configured.
    pub key_id: Option<KeyId>,
    /// Number of retries of the job.
    pub retry_count: u32,
    /// Time of the job's acceptance.
    pub created_at: Timestamp,
    /// Time of the last change of this state.
    pub updated_at: Timestamp,
    /// Time at which a worker started the job.
    pub started_at: Option<Timestamp>,
    /// Time of the job's end.
    pub completed_at: Option<Timestamp>,
    /// Time at which the job is deleted; null if it has not ended, and if it is kept.
    pub expires_at: Option<Timestamp>,
    /// Links to related resources.
    pub links: Links,
}

/// State of a job's prediction at the provider.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Provider {
    /// Name of the provider.
    pub name: ProviderName,
    /// Id of the prediction at the provider; null while a submission is in doubt.
    pub prediction_id: Option<PredictionId>,
    /// Last status of the prediction that the provider has reported; null while a submission is in
    /// doubt.
    pub status: Option<PredictionStatus>,
    /// Outcome of a cancel request at the provider; null if there was none.
    pub cancel_outcome: Option<CancelOutcome>,
    /// Time at which the provider accepted the prediction. This time and the ones below are by the
    /// provider's clock.
    pub created_at: Option<Timestamp>,
    /// Time at which the provider started the prediction.
    pub started_at: Option<Timestamp>,
    /// Time at which the prediction ended.
    pub completed_at: Option<Timestamp>,
    /// Time at which the provider removes the outputs.
    pub expires_at: Option<Timestamp>,
    /// Error message of the provider.
    pub error: Option<String>,
    /// Number of outputs that the provider made, including withheld ones; `num_outputs` were
    /// requested. Null until it is known.
    pub outputs_made: Option<u32>,
    /// Output of the prediction with `{"media": index}` in place of each file; null if there is
    /// nothing else in it, or more than 64 KiB.
    pub output: Option<Value>,
    /// Metrics of the prediction, as the provider reports them.
    pub metrics: Map<String, Value>,
}

impl Provider {
    /// State of a prediction of which only the provider is known.
    #[must_use]
    pub fn new(name: ProviderName) -> Self {
        Self {
            name,
            prediction_id: None,
            status: None,
            cancel_outcome: None,
            created_at: None,
            started_at: None,
            completed_at: None,
            expires_at: None,
            error: None,
            outputs_made: None,
            output: None,
            metrics: Map::new(),
        }
    }
}

/// Links to the resources of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Links {
    /// The job itself.
    #[serde(rename = "self")]
    pub this: String,
    /// Outputs of the job, in pages.
    pub media: String,
    /// Stream of the job's states, as server-sent events.
    pub events: String,
    /// Endpoint that cancels the job.
    pub cancel: String,
    /// Endpoint that retries the job.
    pub retry: String,
    /// Webhook deliveries of the job.
    pub webhooks: String,
    /// Workflow in the Temporal UI; null if no UI is configured.
    pub temporal: Option<String>,
}

/// Event of the stream of all jobs, in the format of [server-sent
/// events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("feed_event.json")))]
pub struct FeedEvent {
    /// Time up to which you have received all changes. Send it as `Last-Event-ID` to resume the
    /// stream.
    pub id: Timestamp,
    /// Kind of the event.
    pub event: FeedEventKind,
    /// Job as JSON; `{}` for a reset.
    pub data: String,
}

/// Kind of an event in the stream of all jobs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedEventKind {
    /// Job in its current state.
    Job,
    /// Changes may have been missed: list the jobs again.
    Reset,
}

/// Event of the stream of one job, in the format of [server-sent
/// events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("job_event.json")))]
pub struct JobEvent {
    /// `ETag` of the job in this state. Send it as `Last-Event-ID` to resume the stream.
    pub id: String,
    /// Always `job`.
    pub event: String,
    /// Job as JSON.
    pub data: String,
}
