//! `deliver_webhook`: sends a message to a caller, once. The workflow makes the next attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use temporalio_workflow::{ActivityCloseTimeouts, ActivityOptions};

use super::once;
use crate::{
    WEBHOOK_QUEUE, request::WebhookUrl, tenant::Tenant, webhook_delivery::DeliveryAttempt,
};

/// The input of `deliver_webhook`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeliverWebhookInput {
    /// Whose secret signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// What that secret is known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// Where to.
    pub url: WebhookUrl,
    /// The message's id.
    pub message_id: String,
    /// The bytes to send.
    pub body: String,
}

/// What came of an attempt to deliver a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Delivery {
    /// What it means.
    pub verdict: Verdict,
    /// How long the receiver asks us to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// What is kept of it.
    pub attempt: DeliveryAttempt,
}

/// What an attempt to deliver a message means.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// Another attempt may succeed.
    Failed,
    /// None ever will.
    Refused,
}

/// How one attempt at a webhook runs.
#[must_use]
pub fn options(attempt: usize) -> ActivityOptions {
    let timeout = Duration::from_secs(20);
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::StartToClose(timeout))
        .task_queue(WEBHOOK_QUEUE)
        .retry_policy(once())
        .summary(format!("attempt {attempt}"))
        .build()
}
