//! Webhook deliveries, and the secret that signs them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    request::{WebhookEvent, WebhookUrl},
    schema::example,
};

/// Webhook deliveries of a job.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("webhook_deliveries.json")))]
pub struct WebhookDeliveries {
    /// Deliveries, the latest first: one for each end that the webhook is notified of. A job that
    /// was retried has several.
    pub deliveries: Vec<WebhookDelivery>,
}

/// Webhook message, and the attempts to deliver it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("webhook_delivery.json")))]
pub struct WebhookDelivery {
    /// Id of the message: the header `webhook-id`.
    pub message_id: String,
    /// Event that the message reports.
    pub event: WebhookEvent,
    /// URL that the message is sent to.
    pub url: WebhookUrl,
    /// Status of the delivery.
    pub status: DeliveryStatus,
    /// Attempts so far, the latest last.
    pub attempts: Vec<DeliveryAttempt>,
    /// Time of the next attempt; null if there is none.
    pub next_attempt_at: Option<Timestamp>,
}

/// Status of a webhook delivery.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Another attempt will be made.
    Pending,
    /// The receiver has accepted the message.
    Delivered,
    /// The receiver answered `410`, or its IP address is not one that may be connected to.
    Refused,
    /// All attempts of three days have failed.
    Exhausted,
}

/// Attempt to deliver a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct DeliveryAttempt {
    /// Time at which the attempt began.
    pub at: Timestamp,
    /// Duration of the attempt in milliseconds.
    pub duration_ms: Option<u64>,
    /// HTTP status of the receiver's response; null if there was none.
    pub response_status: Option<u16>,
    /// Reason why the attempt failed; null if it succeeded.
    pub error: Option<String>,
}

/// Secret that signs the webhooks of the caller's tenant.
#[derive(Clone, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("webhook_secret.json")))]
pub struct WebhookSecret {
    /// Key in base64 after `whsec_`, the format of the Standard Webhooks libraries.
    pub key: String,
}
