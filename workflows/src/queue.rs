//! Task queues: one for each kind of work that must not queue behind another kind.

use darkroom_types::provider::ProviderName;

/// Task queue of the workflows and of the activities without a queue of their own, `finalize` and
/// `delete_job`. Calls to a provider have task queues of their own: see [`submissions_queue`] and
/// [`reads_queue`].
pub const WORKFLOW_QUEUE: &str = "media-generation";

/// Task queue of webhook deliveries: receivers may be slow.
pub const WEBHOOK_QUEUE: &str = "media-webhooks";

/// Task queue of `persist` and `sweep`: few slots, many bytes.
pub const PERSIST_QUEUE: &str = "media-persist";

/// Returns the task queue of a provider's submissions: `generate`.
#[must_use]
pub const fn submissions_queue(provider: ProviderName) -> &'static str {
    match provider {
        ProviderName::Replicate => "provider-replicate",
    }
}

/// Returns the task queue of all other calls to a provider: `collect`, `find`, `cancel_generation`.
#[must_use]
pub const fn reads_queue(provider: ProviderName) -> &'static str {
    match provider {
        ProviderName::Replicate => "provider-replicate-reads",
    }
}
