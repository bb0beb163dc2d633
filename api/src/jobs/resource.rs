//! The job as HTTP presents it. Field names follow the service that this one replaces; every field is always there, `null`
//! where there is nothing to say.

use darkroom_workflows::{
    contract::persist::PersistProgress,
    failure::JobError,
    job::{
        CancelOutcome, Doubt, JobState, JobStatus, Media, MediaOutcome, MediaStatus, PredictionId,
        PredictionStatus, ProviderName, ProviderState, Stage,
    },
    request::{
        DeadlineSeconds, JobPriority, JobRequest, Metadata, Model, ModelInput, NumOutputs,
        OutputFormat, Prompt, WebhookEvents, WebhookUrl,
    },
};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;

use super::read::Snapshot;
use crate::{Context, problem::Problem};

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
    priority: JobPriority,
    input: ModelInput,
    metadata: Metadata,
    webhook_url: Option<WebhookUrl>,
    webhook_events: WebhookEvents,
    media: Vec<MediaResource>,
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
    links: Links,
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

/// One output.
#[derive(Serialize)]
struct MediaResource {
    index: u32,
    /// What the provider calls it.
    name: Option<String>,
    status: MediaStatus,
    /// Leads to the output for as long as the job is known.
    media_url: Option<String>,
    s3_key: Option<String>,
    /// Leads to the output for an hour, for whoever has it.
    presigned_media_url: Option<Url>,
    content_type: Option<String>,
    size: Option<u64>,
    /// How many bytes of an output on its way have come so far, and how many there are if it is known.
    bytes_done: Option<u64>,
    bytes_total: Option<u64>,
    sha256: Option<String>,
    /// What was seen of a picture or a video; null where it was not.
    width: Option<u32>,
    height: Option<u32>,
    duration_ms: Option<u64>,
    /// Whether it carries Content Credentials.
    c2pa: Option<bool>,
    attempts: Option<u32>,
    error: Option<JobError>,
    error_message: Option<String>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

/// Where to go from here.
#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    this: String,
    events: String,
    cancel: String,
    retry: String,
    webhooks: String,
    /// The workflow in the Temporal UI.
    temporal: Option<String>,
}

impl JobResource {
    pub(super) async fn of(context: &Context, snapshot: Snapshot) -> Result<Self, Problem> {
        let Snapshot {
            state,
            stale,
            progress,
        } = snapshot;
        let JobState {
            job_id,
            request,
            status,
            stage,
            media,
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
            priority,
            input,
            metadata,
            webhook_url,
            webhook_events,
        } = request;
        let this = context.url(&format!("/v1/jobs/{job_id}"));
        let media = try_join_all(
            media
                .into_iter()
                .map(|media| MediaResource::of(context, &this, &progress, media)),
        )
        .await?;
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
        Ok(Self {
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
            priority,
            input,
            metadata,
            webhook_url,
            webhook_events,
            media,
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
            links: Links {
                events: format!("{this}/events"),
                cancel: format!("{this}/cancel"),
                retry: format!("{this}/retry"),
                webhooks: format!("{this}/webhooks"),
                this,
                temporal,
            },
        })
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

impl MediaResource {
    async fn of(
        context: &Context,
        job_url: &str,
        progress: &[PersistProgress],
        media: Media,
    ) -> Result<Self, Problem> {
        let mut resource = Self::without_particulars(&media);
        match media.outcome {
            MediaOutcome::Pending => {
                let progress = progress
                    .iter()
                    .find(|progress| progress.index == media.index);
                resource.bytes_done = progress.map(|progress| progress.bytes_done);
                resource.bytes_total = progress.and_then(|progress| progress.bytes_total);
            }
            MediaOutcome::Canceled => {}
            MediaOutcome::Failed { error, attempts } => {
                resource.error_message = Some(error.detail.clone());
                resource.error = Some(error);
                resource.attempts = attempts;
            }
            MediaOutcome::Completed(stored) => {
                resource.media_url = Some(format!("{job_url}/media/{}", media.index));
                resource.presigned_media_url =
                    Some(context.presigned.url(context, &stored.s3_key).await?);
                resource.s3_key = Some(stored.s3_key);
                resource.content_type = Some(stored.content_type);
                resource.size = Some(stored.size);
                resource.bytes_done = Some(stored.size);
                resource.bytes_total = Some(stored.size);
                resource.sha256 = Some(stored.sha256);
                resource.width = stored.facts.width;
                resource.height = stored.facts.height;
                resource.duration_ms = stored.facts.duration_ms;
                resource.c2pa = Some(stored.facts.c2pa);
                resource.attempts = Some(stored.attempts);
                resource.started_at = Some(stored.started_at);
                resource.completed_at = Some(stored.completed_at);
            }
        }
        Ok(resource)
    }

    fn without_particulars(media: &Media) -> Self {
        Self {
            index: media.index,
            name: media.name.clone(),
            status: media.status(),
            media_url: None,
            s3_key: None,
            presigned_media_url: None,
            content_type: None,
            size: None,
            bytes_done: None,
            bytes_total: None,
            sha256: None,
            width: None,
            height: None,
            duration_ms: None,
            c2pa: None,
            attempts: None,
            error: None,
            error_message: None,
            started_at: None,
            completed_at: None,
        }
    }
}
