//! Whether the provider lets this worker buy: a token that is refused, or a bill that is not paid, is an operator's trouble. A worker
//! with it would refuse jobs faster than others buy for them, so it is to take none until the provider lets it in.

use std::{sync::Arc, time::Duration};

use darkroom_providers::{Provider, ProviderError};
use tokio::sync::watch;

/// How often to look whether the provider lets us in again.
const INTERVAL: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Clone, Debug)]
pub struct Access(Arc<watch::Sender<bool>>);

impl Access {
    /// Access that nobody has refused yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Whether the provider refused it when it was asked last.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the provider refuses it.
    pub async fn refused(&self) {
        // The sender lives as long as we do.
        let _ = self.0.subscribe().wait_for(|refused| *refused).await;
    }

    /// Returns when the provider lets us in, or does not say that it would not.
    pub async fn granted(&self, provider: &dyn Provider) {
        // What refused a purchase may not refuse a question.
        if self.is_refused() {
            tokio::time::sleep(INTERVAL).await;
        }
        while let Err(
            error @ (ProviderError::Unauthorized(_) | ProviderError::InsufficientCredit(_)),
        ) = provider.check().await
        {
            tracing::error!(%error, "nothing is bought until the provider lets us in");
            self.refuse();
            tokio::time::sleep(INTERVAL).await;
        }
        self.0.send_replace(false);
    }

    pub(super) fn refuse(&self) {
        self.0.send_replace(true);
    }
}

impl Default for Access {
    fn default() -> Self {
        Self::new()
    }
}
