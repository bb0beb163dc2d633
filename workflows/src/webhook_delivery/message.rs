//! The message of a webhook delivery, built when the job ends, and the input that carries it.

use darkroom_types::resource::DeliveryAttempt;
use serde::{Deserialize, Serialize};

use crate::{
    job::{JobState, MediaStatus},
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
        let body = serde_json::json!({
            "type": event,
            "timestamp": job.completed_at,
            "data": {
                "job_id": job.job_id,
                "status": job.status,
                "model": job.request.model,
                "metadata": job.request.metadata,
                "media": {
                    "completed": job.count(MediaStatus::Completed),
                    "failed": job.count(MediaStatus::Failed),
                    "canceled": job.count(MediaStatus::Canceled),
                },
                "provider": job.provider.as_ref().map(|provider| serde_json::json!({
                    "name": provider.prediction.provider,
                    "prediction_id": provider.prediction.id,
                    "status": provider.status,
                    "cancel_outcome": provider.cancel_outcome,
                    "created_at": provider.created_at,
                    "started_at": provider.started_at,
                    "completed_at": provider.completed_at,
                    "error": provider.error,
                })),
                "in_doubt_since": job.doubt.as_ref().map(|doubt| doubt.since),
                "error": job.error,
                "retry_count": job.retry_count,
                "created_at": job.created_at,
                "completed_at": job.completed_at,
            },
        });
        let message = WebhookMessage {
            id,
            event,
            body: body.to_string(),
        };
        Some(Self {
            tenant: job.tenant.clone(),
            secret_id: job.webhook_secret_id.clone(),
            url,
            message,
            attempts: Vec::new(),
        })
    }
}
