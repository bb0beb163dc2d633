//! The task queues: one for each kind of work that must not wait for another kind.

use darkroom_types::provider::ProviderName;

/// The task queue of the workflows and of `finalize`. What is asked of a provider has queues of its own: see
/// [`submissions_queue`] and [`reads_queue`].
pub const WORKFLOW_QUEUE: &str = "media-generation";

/// The task queue of webhooks: receivers may take their time.
pub const WEBHOOK_QUEUE: &str = "media-webhooks";

/// The task queue of `persist`: few slots, many bytes.
pub const PERSIST_QUEUE: &str = "media-persist";

/// The task queue of a provider's submissions: `generate`.
#[must_use]
pub const fn submissions_queue(provider: ProviderName) -> &'static str {
    match provider {
        ProviderName::Replicate => "provider-replicate",
    }
}

/// The task queue of whatever else a provider is asked: `collect`, `find`, `cancel_generation`.
#[must_use]
pub const fn reads_queue(provider: ProviderName) -> &'static str {
    match provider {
        ProviderName::Replicate => "provider-replicate-reads",
    }
}
