//! Resources that callers receive. Every field of a resource is always present; it is `null` if
//! there is no value. Error responses are in [`crate::problem`].
//!
//! - `job`, `media`: a job, its outputs, and the events that carry it
//! - `list`: pages of jobs
//! - `webhook`: webhook deliveries, and the secret that signs them; `webhook_payload`: the body of
//!   a message
//! - `deletion`, `api_key`, `health`: the resources of the other endpoints

mod api_key;
mod deletion;
mod health;
mod job;
mod list;
mod media;
mod webhook;
mod webhook_payload;

pub use self::{
    api_key::{ApiKey, ApiKeys, CreatedApiKey},
    deletion::Deletion,
    health::{Checks, Health, Readiness, ReadinessStatus},
    job::{FeedEvent, FeedEventKind, Job, JobEvent, Links, Provider},
    list::{JobPage, JobSummary, SummaryLinks},
    media::{Media, MediaCounts, MediaPage, MediaUrl},
    webhook::{DeliveryAttempt, DeliveryStatus, WebhookDeliveries, WebhookDelivery, WebhookSecret},
    webhook_payload::{WebhookJob, WebhookPayload, WebhookPrediction},
};
