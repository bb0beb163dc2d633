//! Readiness check of the worker: it serves its task queues, and Temporal, the store and the
//! provider are available to it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use darkroom_activities::{
    deliver_webhook::SecretMismatch,
    generate::Access,
    store_access::{StoreAccess, Writable},
};
use darkroom_telemetry::listener::Readiness;
use darkroom_temporal::namespace::{self, Missing};
use temporalio_client::Client;
use tokio_util::sync::CancellationToken;

/// Timeout of the check of Temporal.
const TIMEOUT: Duration = Duration::from_secs(3);

/// State that readiness depends on.
pub(crate) struct Serving {
    store: StoreAccess,
    access: Access,
    mismatch: SecretMismatch,
    begun: OnceLock<(Client, CancellationToken)>,
}

impl Serving {
    pub(crate) fn new(store: StoreAccess, access: Access, mismatch: SecretMismatch) -> Self {
        Self {
            store,
            access,
            mismatch,
            begun: OnceLock::new(),
        }
    }

    /// Marks the worker as serving, until `shutdown`.
    pub(crate) fn begins(&self, client: Client, shutdown: CancellationToken) {
        // Ignored: it is called once.
        let _ = self.begun.set((client, shutdown));
    }

    async fn check(&self) -> Result<(), String> {
        let Some((client, shutdown)) = self.begun.get() else {
            return Err("not started".to_owned());
        };
        if shutdown.is_cancelled() {
            return Err("stopping".to_owned());
        }
        if self.access.is_refused() {
            return Err("the provider rejects the token, or its account has no credit".to_owned());
        }
        if self.mismatch.is_seen() {
            return Err("webhooks cannot be signed: DARKROOM_WEBHOOK_SECRET is missing or differs from that of the api".to_owned());
        }
        let asked = tokio::time::timeout(TIMEOUT, namespace::check(client)).await;
        asked
            .map_err(|_| Missing::Temporal)
            .flatten()
            .map_err(|missing| missing.to_string())?;
        match self.store.found() {
            Writable::Yes => Ok(()),
            Writable::Unknown => Err("the store does not answer".to_owned()),
            Writable::No(error) => Err(error.to_string()),
        }
    }
}

/// Creates the readiness check for the listener.
pub(crate) fn of(serving: &Arc<Serving>) -> Readiness {
    let serving = Arc::clone(serving);
    Arc::new(move || {
        let serving = Arc::clone(&serving);
        Box::pin(async move { serving.check().await })
    })
}
