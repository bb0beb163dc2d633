//! What a connection is used for: how many requests have begun on it, and whether one is under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a connection of HTTP/2, which its caller keeps alive by itself, may be held without a request: twice this at most.
const IDLE: Duration = Duration::from_mins(1);

/// The use of one connection, shared by all who know of it.
#[derive(Clone, Default)]
pub(super) struct Usage(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request that is under way for as long as this is held.
pub(super) struct UnderWay(Usage);

impl Usage {
    /// A request begins.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// How many have begun.
    pub(super) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether any of them has not ended.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun() != self.0.ended.load(Ordering::Relaxed)
    }

    /// Returns when no request has been under way for a while.
    pub(super) async fn until_idle(&self) {
        let mut before = None;
        loop {
            tokio::time::sleep(IDLE).await;
            if before == Some(self.begun()) && !self.is_under_way() {
                return;
            }
            before = Some(self.begun());
        }
    }
}

impl UnderWay {
    /// The value; whoever asks for it holds the request open.
    pub(super) fn holding<T>(_under_way: &Self, value: T) -> T {
        value
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
