//! A job.

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

/// A job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("job.json")))]
pub struct Job {
    /// The job's id, and that of its Temporal workflow.
    pub job_id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// What an unfinished job is busy with.
    pub stage: Option<Stage>,
    /// Whether the state may be behind the truth, as no worker could be asked.
    pub stale: bool,
    /// What was asked for, as the fields below.
    pub model: Model,
    /// What to make.
    pub prompt: Option<Prompt>,
    /// How many files were asked for.
    pub num_outputs: NumOutputs,
    /// What makes the generation repeatable.
    #[schema(format = "uint64")]
    pub seed: Option<u64>,
    /// The file format that was asked for.
    pub output_format: Option<OutputFormat>,
    /// How long the job may take from when it was accepted.
    pub deadline_seconds: Option<DeadlineSeconds>,
    /// How long after its end the job is deleted; it stays if null.
    pub expire_after_seconds: Option<ExpireAfterSeconds>,
    /// How soon it is worked on beside others.
    pub priority: JobPriority,
    /// Further inputs of the model.
    pub input: ModelInput,
    /// The caller's own labels.
    pub metadata: Metadata,
    /// Where to tell how the job ended.
    pub webhook_url: Option<WebhookUrl>,
    /// Which ends are told of.
    pub webhook_events: WebhookEvents,
    /// The outputs, by position, the first 100 of them; empty until the provider has made them.
    pub media: Vec<Media>,
    /// What `cursor` to list further outputs with; null if there are none.
    pub media_next_cursor: Option<String>,
    /// How its outputs stand.
    pub media_counts: MediaCounts,
    /// The provider's side of it, from the purchase on.
    pub provider: Option<Provider>,
    /// Since when the provider may have work of the job's that nobody has found: its answer is lost.
    pub in_doubt_since: Option<Timestamp>,
    /// Why the job is not `completed`.
    pub error: Option<JobError>,
    /// The same in words.
    pub error_message: Option<String>,
    /// The API key that asked for it; null where there are no keys.
    pub key_id: Option<KeyId>,
    /// How often the job was taken up again.
    pub retry_count: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When this state last changed.
    pub updated_at: Timestamp,
    /// When a worker took it up.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// When the job is deleted; null while it has not ended, and if it stays.
    pub expires_at: Option<Timestamp>,
    /// Where to go from it.
    pub links: Links,
}

/// What is known of the provider's side of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Provider {
    /// Which provider.
    pub name: ProviderName,
    /// The provider's own id of its work; null while a submission is in doubt.
    pub prediction_id: Option<PredictionId>,
    /// The provider's last word on it; null while a submission is in doubt.
    pub status: Option<PredictionStatus>,
    /// What the provider did about a request to cancel, if there was one.
    pub cancel_outcome: Option<CancelOutcome>,
    /// When the provider took it, by the provider's clock, as the times below.
    pub created_at: Option<Timestamp>,
    /// When the provider began to work on it.
    pub started_at: Option<Timestamp>,
    /// When the provider was done with it.
    pub completed_at: Option<Timestamp>,
    /// When the provider removes the outputs.
    pub expires_at: Option<Timestamp>,
    /// The provider's own words on a failure.
    pub error: Option<String>,
    /// How many outputs it made, those included that it withheld; `num_outputs` were asked for.
    pub outputs_made: Option<u32>,
    /// What it answered beside its files, each of which is `{"media": index}` here; null if there is nothing else, or over 64 KiB.
    pub output: Option<Value>,
    /// What the provider measured, as it says it.
    pub metrics: Map<String, Value>,
}

impl Provider {
    /// Work of which no more is known than whose it is.
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

/// Where to go from a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Links {
    /// The job itself.
    #[serde(rename = "self")]
    pub this: String,
    /// Its outputs, a page at a time.
    pub media: String,
    /// Its states as they come.
    pub events: String,
    /// Where to have it stop.
    pub cancel: String,
    /// Where to have it taken up again.
    pub retry: String,
    /// What was sent of its ends.
    pub webhooks: String,
    /// The workflow in the Temporal UI, where that is configured.
    pub temporal: Option<String>,
}

/// One event of the feed of all jobs, as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html)
/// have it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("feed_event.json")))]
pub struct FeedEvent {
    /// Until when you have seen what happened: what to send as `Last-Event-ID`.
    pub id: Timestamp,
    /// What it is.
    pub event: FeedEventKind,
    /// The job, as JSON; `{}` for a reset.
    pub data: String,
}

/// What an event of the feed is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedEventKind {
    /// A job in its present state.
    Job,
    /// There is no telling what you have missed: list the jobs anew.
    Reset,
}

/// One event of a stream, as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html) have it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("job_event.json")))]
pub struct JobEvent {
    /// The `ETag` of the job in this state: what to send as `Last-Event-ID`.
    pub id: String,
    /// `job`.
    pub event: String,
    /// The job, as JSON.
    pub data: String,
}
