//! Access to the provider: refused if the token is rejected or the account has no credit, which an
//! operator must solve. A worker without access would refuse jobs faster than others buy for them,
//! so it takes none until the provider grants access again.

use std::{sync::Arc, time::Duration};

use darkroom_providers::{Provider, ProviderError};
use tokio::sync::watch;

/// Interval between two checks while access is refused.
const INTERVAL: Duration = Duration::from_secs(30);

/// Access to the provider, shared by all clones.
#[derive(Clone, Debug)]
pub struct Access(Arc<watch::Sender<bool>>);

impl Access {
    /// Returns access that the provider has not refused yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Returns true if the provider refused access when it was last asked.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the provider refuses access.
    pub async fn refused(&self) {
        // Never fails: the sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|refused| *refused).await;
    }

    /// Waits until the provider grants access, or at least does not refuse it.
    pub async fn granted(&self, provider: &dyn Provider) {
        // The check may pass although a purchase was refused, so it is delayed.
        if self.is_refused() {
            tokio::time::sleep(INTERVAL).await;
        }
        while let Err(
            error @ (ProviderError::Unauthorized(_) | ProviderError::InsufficientCredit(_)),
        ) = provider.check().await
        {
            tracing::error!(%error, "nothing is bought until the provider grants access again");
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
