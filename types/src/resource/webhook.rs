//! Being told how jobs ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    request::{WebhookEvent, WebhookUrl},
    schema::example,
};

/// What was sent of a job's end, and what came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("webhook_deliveries.json")))]
pub struct WebhookDeliveries {
    /// One for each end that was told of: a job that was taken up again has several, the latest first.
    pub deliveries: Vec<WebhookDelivery>,
}

/// One message, and what came of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("webhook_delivery.json")))]
pub struct WebhookDelivery {
    /// The message's id: `webhook-id`.
    pub message_id: String,
    /// What it tells.
    pub event: WebhookEvent,
    /// Where to.
    pub url: WebhookUrl,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// The attempts so far, the latest last.
    pub attempts: Vec<DeliveryAttempt>,
    /// When the next one is due.
    pub next_attempt_at: Option<Timestamp>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// There will be another attempt.
    Pending,
    /// The receiver has it.
    Delivered,
    /// The receiver answered `410`, or its address is not one that is connected to.
    Refused,
    /// Three days of attempts were in vain.
    Exhausted,
}

/// One attempt.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct DeliveryAttempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The status of the answer, if there was one.
    pub response_status: Option<u16>,
    /// Why it was in vain, if it was.
    pub error: Option<String>,
}

/// What signs webhooks to a caller.
#[derive(Clone, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("webhook_secret.json")))]
pub struct WebhookSecret {
    /// `whsec_` and a key in base64, as the Standard Webhooks libraries take it.
    pub key: String,
}
