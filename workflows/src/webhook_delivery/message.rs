//! The message of a webhook delivery, built when the job ends, and the input that carries it.

use darkroom_types::resource::{DeliveryAttempt, WebhookJob, WebhookPayload, WebhookPrediction};
use serde::{Deserialize, Serialize};

use crate::{
    job::{JobState, ProviderState},
    request::{WebhookEvent, WebhookUrl},
    tenant::Tenant,
};

/// Input of a delivery.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct WebhookDeliveryInput {
    /// Tenant of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Id of the secret to sign with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// URL of the receiver.
    pub url: WebhookUrl,
    /// The message.
    pub message: WebhookMessage,
    /// Attempts of earlier runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<DeliveryAttempt>,
}

/// Message to a caller. It says enough to decide whether to read the job, and no more.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct WebhookMessage {
    /// Message id: the same each time it is sent, so that a receiver recognizes a duplicate.
    pub id: String,
    /// The event.
    pub event: WebhookEvent,
    /// Body as it is signed and sent: a retry sends the same bytes.
    pub body: String,
}

impl WebhookDeliveryInput {
    /// Returns the delivery for a job that has ended; `None` if its caller did not ask for one.
    #[must_use]
    pub fn of(job: &JobState) -> Option<Self> {
        let event = WebhookEvent::of(job.status)
            .filter(|event| job.request.webhook_events.contains(*event))?;
        let url = job.request.webhook_url.clone()?;
        // After a reset the job ends again, which a receiver must not take for a duplicate.
        let run = job.run_id.as_deref().unwrap_or_default();
        let id = format!("msg_{}_{run}", job.job_id);
        // It cannot fail: its maps have strings as keys.
        let body = serde_json::json!(payload(job, event)).to_string();
        let message = WebhookMessage { id, event, body };
        Some(Self {
            tenant: job.tenant.clone(),
            secret_id: job.webhook_secret_id.clone(),
            url,
            message,
            attempts: Vec::new(),
        })
    }
}

fn payload(job: &JobState, event: WebhookEvent) -> WebhookPayload {
    let ended_at = job.completed_at.unwrap_or(job.updated_at);
    WebhookPayload {
        event,
        timestamp: ended_at,
        data: WebhookJob {
            job_id: job.job_id,
            status: job.status,
            model: job.request.model.clone(),
            metadata: job.request.metadata.clone(),
            media_counts: job.media_counts(),
            provider: job.provider.as_ref().map(prediction),
            in_doubt_since: job.doubt.as_ref().map(|doubt| doubt.since),
            error: job.error.clone(),
            retry_count: job.retry_count,
            created_at: job.created_at,
            completed_at: ended_at,
        },
    }
}

fn prediction(state: &ProviderState) -> WebhookPrediction {
    WebhookPrediction {
        name: state.prediction.provider,
        prediction_id: state.prediction.id.clone(),
        status: state.status,
        cancel_outcome: state.cancel_outcome,
        created_at: state.created_at,
        started_at: state.started_at,
        completed_at: state.completed_at,
        error: state.error.clone(),
    }
}
