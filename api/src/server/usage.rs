//! What a connection is used for: how many requests have begun on it, and whether one is under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Idle timeout of a connection, longer than that of load balancers (60 s mostly). A connection of HTTP/2,
/// which its caller keeps alive by itself, is held without a request for twice this at most.
pub(super) const IDLE: Duration = Duration::from_secs(75);

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

    fn ended(&self) -> u64 {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Whether any of them has not ended.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun() != self.ended()
    }

    /// Returns when no request has been under way for a while.
    pub(super) async fn until_idle(&self) {
        let mut before = None;
        loop {
            tokio::time::sleep(IDLE).await;
            // Requests that ended since the last tick were under way until just now.
            let ended = self.ended();
            if before == Some(ended) && !self.is_under_way() {
                return;
            }
            before = Some(ended);
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

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Callers that wait for an end ask again and again: between an answer and the next request, a
    /// connection is at rest for a moment.
    #[tokio::test(start_paused = true)]
    async fn a_moment_between_two_requests_is_no_idleness() {
        let usage = Usage::default();
        let began = Instant::now();
        let moment = Duration::from_millis(1);
        let requests = async {
            sleep(IDLE.saturating_sub(moment)).await;
            let under_way = usage.begin();
            sleep(IDLE).await;
            drop(under_way);
            sleep(2 * moment).await;
            drop(usage.begin());
            Instant::now()
        };
        let ((), last) = tokio::join!(usage.until_idle(), requests);
        assert!(began.elapsed() >= last.duration_since(began) + IDLE);
    }
}
