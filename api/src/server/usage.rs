//! Requests of one connection: the number that have begun, and whether one is in flight.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Idle timeout of a connection, longer than that of load balancers (mostly 60 s). An HTTP/2
/// connection that its client keeps alive with pings is held without a request for at most twice
/// this.
pub(super) const IDLE: Duration = Duration::from_secs(75);

/// Request counters of one connection, shared by all clones.
#[derive(Clone, Default)]
pub(super) struct Usage(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Guard of a request, which is in flight for as long as this is held.
pub(super) struct InFlight(Usage);

impl Usage {
    /// Counts a request that begins.
    pub(super) fn begin(&self) -> InFlight {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Returns the number of requests that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    fn ended(&self) -> u64 {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Returns true if a request has not ended.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun() != self.ended()
    }

    /// Waits until no request has been in flight for the idle timeout, or for twice that at most.
    pub(super) async fn until_idle(&self) {
        let mut before = None;
        loop {
            tokio::time::sleep(IDLE).await;
            // Requests that ended since the last tick were in flight until just now.
            let ended = self.ended();
            if before == Some(ended) && !self.is_under_way() {
                return;
            }
            before = Some(ended);
        }
    }
}

impl InFlight {
    /// Returns the value. Moves the guard into a closure that calls this: the request stays in
    /// flight for as long as the closure lives.
    pub(super) fn holding<T>(_under_way: &Self, value: T) -> T {
        value
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Clients that long poll send one request after another: between a response and the next
    /// request, their connection is idle for a moment.
    #[tokio::test(start_paused = true)]
    async fn a_short_pause_between_requests_is_not_idle() {
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
