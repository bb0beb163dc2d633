//! What a caller gets. Every field of a resource is always there, `null` where there is nothing to say.

mod api_key;
mod deletion;
mod health;
mod job;
mod list;
mod media;
mod webhook;

pub use self::{
    api_key::{ApiKey, ApiKeys, CreatedApiKey},
    deletion::Deletion,
    health::{Checks, Health, Readiness, ReadinessStatus},
    job::{FeedEvent, FeedEventKind, Job, JobEvent, Links, Provider},
    list::{JobPage, JobSummary, SummaryLinks},
    media::{Media, MediaCounts, MediaPage, MediaUrl},
    webhook::{DeliveryAttempt, DeliveryStatus, WebhookDeliveries, WebhookDelivery, WebhookSecret},
};
