//! The job as HTTP presents it. Field names follow the service that this one replaces; every field is always there, `null`
//! where there is nothing to say.

use darkroom_workflows::{
    failure::JobError,
    job::{
        CancelOutcome, Doubt, JobState, JobStatus, MediaStatus, PredictionId, PredictionStatus,
        ProviderName, ProviderState, Stage,
    },
    request::{
        DeadlineSeconds, ExpireAfterSeconds, JobPriority, JobRequest, Metadata, Model, ModelInput,
        NumOutputs, OutputFormat, Prompt, WebhookEvents, WebhookUrl,
    },
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    media_page::{MediaResource, Page},
    read::Snapshot,
};
use crate::Context;

/// A job.
#[derive(Serialize)]
pub(super) struct JobResource {
    job_id: String,
    status: JobStatus,
    /// What an unfinished job is busy with.
    stage: Option<Stage>,
    /// Whether the state may be behind the truth, as no worker could be asked.
    stale: bool,
    model: Model,
    prompt: Option<Prompt>,
    num_outputs: NumOutputs,
    seed: Option<u64>,
    output_format: Option<OutputFormat>,
    deadline_seconds: Option<DeadlineSeconds>,
    /// How long after its end the job is deleted.
    expire_after_seconds: Option<ExpireAfterSeconds>,
    priority: JobPriority,
    input: ModelInput,
    metadata: Metadata,
    webhook_url: Option<WebhookUrl>,
    webhook_events: WebhookEvents,
    /// The first outputs, by position; the others are on pages of their own.
    media: Vec<MediaResource>,
    media_next_cursor: Option<String>,
    media_counts: MediaCounts,
    provider: Option<ProviderResource>,
    /// Since when the provider may have work of the job's that nobody has found.
    in_doubt_since: Option<Timestamp>,
    error: Option<JobError>,
    error_message: Option<String>,
    retry_count: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    /// When the job is deleted.
    expires_at: Option<Timestamp>,
    links: Links,
}

/// How many outputs there are, and how many of them stand how.
#[derive(Serialize)]
struct MediaCounts {
    total: usize,
    pending: usize,
    completed: usize,
    failed: usize,
    canceled: usize,
}

/// The provider's side of a job.
#[derive(Serialize)]
struct ProviderResource {
    name: ProviderName,
    /// Unknown while a submission is in doubt, as is the status.
    prediction_id: Option<PredictionId>,
    status: Option<PredictionStatus>,
    cancel_outcome: Option<CancelOutcome>,
    created_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    /// The provider's own words on a failure.
    error: Option<String>,
    /// How many outputs it made, beside `num_outputs`, and what it said beside them.
    outputs_made: Option<u32>,
    output: Option<Value>,
    metrics: Map<String, Value>,
}

/// Where to go from here.
#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    this: String,
    media: String,
    events: String,
    cancel: String,
    retry: String,
    webhooks: String,
    /// The workflow in the Temporal UI.
    temporal: Option<String>,
}

impl JobResource {
    pub(super) async fn of(context: &Context, snapshot: Snapshot) -> Self {
        let Snapshot {
            state,
            stale,
            progress,
        } = snapshot;
        let this = context.url(&format!("/v1/jobs/{}", state.job_id));
        let (media_counts, page) = (MediaCounts::of(&state), Page::FIRST);
        let media = page.read(context, &state, &progress).await;
        let media_next_cursor = page.next_cursor(&state);
        let expires_at = state.expires_at();
        let JobState {
            job_id,
            request,
            status,
            stage,
            provider,
            doubt,
            error,
            retry_count,
            ..
        } = state;
        let JobRequest {
            model,
            prompt,
            num_outputs,
            seed,
            output_format,
            deadline_seconds,
            expire_after_seconds: _,
            priority,
            input,
            metadata,
            webhook_url,
            webhook_events,
        } = request;
        let namespace = context
            .temporal
            .client()
            .map(|client| client.options().namespace.clone());
        let temporal = context
            .temporal_ui
            .as_ref()
            .zip(namespace.ok())
            .map(|(ui, namespace)| {
                format!(
                    "{}/namespaces/{namespace}/workflows/{job_id}",
                    ui.as_str().trim_end_matches('/')
                )
            });
        Self {
            job_id: job_id.to_string(),
            status,
            stage,
            stale,
            model,
            prompt,
            num_outputs,
            seed,
            output_format,
            deadline_seconds,
            expire_after_seconds: state.expire_after_seconds,
            priority,
            input,
            metadata,
            webhook_url,
            webhook_events,
            media,
            media_next_cursor,
            media_counts,
            provider: match (provider, &doubt) {
                (Some(provider), None) => Some(provider.into()),
                (_, Some(_)) => Some(ProviderResource::in_doubt(status)),
                (None, None) => None,
            },
            in_doubt_since: doubt.map(|Doubt { since, .. }| since),
            error_message: error.as_ref().map(|error| error.detail.clone()),
            error,
            retry_count,
            created_at: state.created_at,
            updated_at: state.updated_at,
            started_at: state.started_at,
            completed_at: state.completed_at,
            expires_at,
            links: Links {
                media: format!("{this}/media"),
                events: format!("{this}/events"),
                cancel: format!("{this}/cancel"),
                retry: format!("{this}/retry"),
                webhooks: format!("{this}/webhooks"),
                this,
                temporal,
            },
        }
    }
}

impl MediaCounts {
    fn of(job: &JobState) -> Self {
        Self {
            total: job.media.len(),
            pending: job.count(MediaStatus::Pending),
            completed: job.count(MediaStatus::Completed),
            failed: job.count(MediaStatus::Failed),
            canceled: job.count(MediaStatus::Canceled),
        }
    }
}

impl ProviderResource {
    /// Of a submission that nobody can account for no more is known than whose it is.
    fn in_doubt(status: JobStatus) -> Self {
        Self {
            name: ProviderName::Replicate,
            prediction_id: None,
            status: None,
            cancel_outcome: status.is_terminal().then_some(CancelOutcome::Unknown),
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

impl From<ProviderState> for ProviderResource {
    fn from(state: ProviderState) -> Self {
        Self {
            name: state.prediction.provider,
            prediction_id: Some(state.prediction.id),
            status: Some(state.status),
            cancel_outcome: state.cancel_outcome,
            created_at: state.created_at,
            started_at: state.started_at,
            completed_at: state.completed_at,
            expires_at: state.expires_at,
            error: state.error,
            outputs_made: state.outputs_made,
            output: state.output,
            metrics: state.metrics,
        }
    }
}
