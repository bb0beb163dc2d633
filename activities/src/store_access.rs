//! Write access to the store. A worker that cannot write outputs buys nothing: the store is probed
//! at the start, at intervals, and whenever it has refused an output.

use std::{sync::Arc, time::Duration};

use darkroom_storage::{Feature, Storage, StorageError};
use tokio::sync::{Notify, watch};

/// Interval between two probes while the store accepts writes, and while it does not.
const INTERVAL: Duration = Duration::from_mins(1);
const INTERVAL_WHILE_REFUSED: Duration = Duration::from_secs(5);

/// Shortest time between two probes, however many outputs are refused.
const AT_LEAST: Duration = Duration::from_secs(2);

/// Timeout of one probe.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Result of the latest probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Writable {
    /// No probe has finished yet.
    Unknown,
    /// The store accepts all requests that outputs need.
    Yes,
    /// The store refused a request of the probe, or could not be reached.
    No(StorageError),
}

/// Write access to the store as last probed, shared by all clones.
#[derive(Clone, Debug)]
pub struct StoreAccess {
    found: Arc<watch::Sender<Writable>>,
    doubted: Arc<Notify>,
}

impl StoreAccess {
    /// Returns write access that was not probed yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            found: Arc::new(watch::Sender::new(Writable::Unknown)),
            doubted: Arc::default(),
        }
    }

    /// Returns the result of the latest probe.
    #[must_use]
    pub fn found(&self) -> Writable {
        self.found.borrow().clone()
    }

    /// Waits until the store can be written to.
    pub async fn granted(&self) {
        // Never fails: the sender lives as long as `self`.
        let _ = self
            .found
            .subscribe()
            .wait_for(|found| *found == Writable::Yes)
            .await;
    }

    /// Waits until the latest probe has not succeeded, or there was none.
    pub async fn refused(&self) {
        let _ = self
            .found
            .subscribe()
            .wait_for(|found| *found != Writable::Yes)
            .await;
    }

    /// Requests a probe: the store has refused a write.
    pub(crate) fn request_probe(&self) {
        self.doubted.notify_one();
    }

    /// Probes the store for ever. `name` keeps the object of this probe apart from those of other
    /// processes.
    pub async fn probe_forever(self, storage: Storage, name: String) {
        loop {
            let probed = tokio::time::timeout(TIMEOUT, Box::pin(storage.probe(&name))).await;
            let found = match probed.unwrap_or(Err(StorageError::TooSlow)) {
                Ok(()) => Writable::Yes,
                Err(error) => Writable::No(error),
            };
            metrics::gauge!("darkroom_store_writable").set(u8::from(found == Writable::Yes));
            let before = self.found.send_replace(found.clone());
            if before != found {
                log(&storage, &found);
            }
            let interval = match found {
                Writable::Yes => INTERVAL,
                Writable::No(_) | Writable::Unknown => INTERVAL_WHILE_REFUSED,
            };
            let doubted = async {
                tokio::time::sleep(AT_LEAST).await;
                self.doubted.notified().await;
            };
            // Usually times out: the interval passes without a refusal.
            let _ = tokio::time::timeout(interval, doubted).await;
        }
    }
}

impl Default for StoreAccess {
    fn default() -> Self {
        Self::new()
    }
}

fn log(storage: &Storage, found: &Writable) {
    match found {
        Writable::Unknown => {}
        Writable::Yes => tracing::info!(
            bucket = storage.bucket,
            conditional_writes = storage.has(Feature::ConditionalWrites),
            streamed_trailers = storage.has(Feature::StreamedTrailers),
            "the store can be written to"
        ),
        Writable::No(error) => tracing::error!(
            bucket = storage.bucket,
            %error,
            "nothing is bought until the store can be written to"
        ),
    }
}
