//! `deliver_webhook`: sends a message to a caller, once. The workflow schedules the retries.

use std::time::Duration;

use darkroom_types::resource::DeliveryAttempt;
use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions};

use super::once;
use crate::{WEBHOOK_QUEUE, request::WebhookUrl, tenant::Tenant};

/// Input of `deliver_webhook`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeliverWebhookInput {
    /// Tenant whose secret signs the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Id of that secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// URL of the receiver.
    pub url: WebhookUrl,
    /// Id of the message.
    pub message_id: String,
    /// Body to send.
    pub body: String,
}

/// Result of one attempt to deliver a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Delivery {
    /// Outcome of the attempt.
    pub outcome: DeliveryOutcome,
    /// Seconds that the receiver asks us to wait (`Retry-After`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Log entry of the attempt.
    pub attempt: DeliveryAttempt,
}

/// Outcome of one attempt to deliver a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// Message that the receiver has.
    Delivered,
    /// Failure after which a retry may succeed.
    Failed,
    /// Failure after which no retry will succeed.
    Refused,
}

/// Options of one attempt at a delivery.
#[must_use]
pub fn options(attempt: usize) -> ActivityOptions {
    let timeout = Duration::from_secs(20);
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::StartToClose(timeout))
        .task_queue(WEBHOOK_QUEUE)
        .retry_policy(once())
        .summary(format!("attempt {attempt}"))
        .build()
}
