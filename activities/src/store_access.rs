//! Whether the store keeps what is paid for. A worker that cannot write buys nothing: it looks at its start, now and then, and
//! whenever the store has refused an output.

use std::{sync::Arc, time::Duration};

use darkroom_storage::{Feature, Storage, StorageError};
use tokio::sync::{Notify, watch};

/// How often to look while all is well, and while it is not.
const INTERVAL: Duration = Duration::from_mins(1);
const INTERVAL_WHILE_REFUSED: Duration = Duration::from_secs(5);

/// How long after a look the next one may be, however many outputs are refused.
const AT_LEAST: Duration = Duration::from_secs(2);

/// How long a look may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the last look found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Writable {
    /// There was no look yet.
    Unknown,
    /// All that outputs need.
    Yes,
    /// Why not.
    No(StorageError),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct StoreAccess {
    found: Arc<watch::Sender<Writable>>,
    doubted: Arc<Notify>,
}

impl StoreAccess {
    /// Access that was not looked at yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            found: Arc::new(watch::Sender::new(Writable::Unknown)),
            doubted: Arc::default(),
        }
    }

    /// What the last look found.
    #[must_use]
    pub fn found(&self) -> Writable {
        self.found.borrow().clone()
    }

    /// Returns when the store can be written to.
    pub async fn granted(&self) {
        // The sender lives as long as we do.
        let _ = self
            .found
            .subscribe()
            .wait_for(|found| *found == Writable::Yes)
            .await;
    }

    /// Returns when it cannot.
    pub async fn refused(&self) {
        let _ = self
            .found
            .subscribe()
            .wait_for(|found| *found != Writable::Yes)
            .await;
    }

    /// Asks for a look: the store has refused something.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Looks again and again. `name` tells our object from those of other processes.
    pub async fn keep(self, storage: Storage, name: String) {
        loop {
            let looked = tokio::time::timeout(TIMEOUT, Box::pin(storage.probe(&name))).await;
            let found = match looked.unwrap_or(Err(StorageError::TooSlow)) {
                Ok(()) => Writable::Yes,
                Err(error) => Writable::No(error),
            };
            metrics::gauge!("darkroom_store_writable").set(u8::from(found == Writable::Yes));
            let before = self.found.send_replace(found.clone());
            if before != found {
                say(&storage, &found);
            }
            let interval = match found {
                Writable::Yes => INTERVAL,
                Writable::No(_) | Writable::Unknown => INTERVAL_WHILE_REFUSED,
            };
            let doubted = async {
                tokio::time::sleep(AT_LEAST).await;
                self.doubted.notified().await;
            };
            // A timeout is the usual end.
            let _ = tokio::time::timeout(interval, doubted).await;
        }
    }
}

impl Default for StoreAccess {
    fn default() -> Self {
        Self::new()
    }
}

fn say(storage: &Storage, found: &Writable) {
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
