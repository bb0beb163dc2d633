//! Detection of an idle connection, by the requests that have begun and ended, the parts of
//! responses, and the bytes that were written. Timeouts within a request are in `timeouts`.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Bytes written within the idle timeout, less those read, that show that a response is being sent.
/// Pings cancel out: each is acknowledged by as many bytes as it has.
const MIN_RESPONSE_BYTES: i64 = 4096;

/// Idle timeout of a connection, in whole seconds: longer than a caller may wait for a response
/// (60 s), and than load balancers keep their idle connections. An HTTP/2 connection that its
/// client keeps alive with pings is held for at most twice this if nothing else happens on it:
/// there is no request, or the client does not read the responses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleTimeout(Duration);

impl FromStr for IdleTimeout {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(seconds @ 61..=3600) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err("must be from 61 to 3600 seconds"),
        }
    }
}

/// Counters of one connection, shared by all clones.
#[derive(Clone)]
pub(super) struct IdleTracker(Arc<Counts>);

struct Counts {
    idle_timeout: Duration,
    begun: AtomicU64,
    answered: AtomicU64,
    ended: AtomicU64,
    /// Parts of responses that Hyper has taken to send them.
    parts: AtomicU64,
    /// Bytes written less bytes read; wraps around.
    surplus: AtomicU64,
}

/// Guard of a request, which is in flight for as long as this is held.
pub(super) struct InFlight {
    tracker: IdleTracker,
    is_answered: bool,
}

impl IdleTracker {
    /// Creates the counters of a new connection.
    pub(super) fn new(IdleTimeout(idle_timeout): IdleTimeout) -> Self {
        Self(Arc::new(Counts {
            idle_timeout,
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            parts: AtomicU64::new(0),
            surplus: AtomicU64::new(0),
        }))
    }

    /// Returns the idle timeout.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.0.idle_timeout
    }

    /// Counts bytes that were read.
    pub(super) fn read(&self, bytes: usize) {
        self.0.surplus.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that were written.
    pub(super) fn wrote(&self, bytes: usize) {
        self.0.surplus.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a request that begins.
    pub(super) fn begin(&self) -> InFlight {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        InFlight {
            tracker: self.clone(),
            is_answered: false,
        }
    }

    /// Returns the number of requests that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Returns true if a request has not ended.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun() != self.0.ended.load(Ordering::Relaxed)
    }

    /// Waits until no request has begun, waits for its response or has ended, and nothing of a
    /// response has been sent, for the idle timeout, or for twice that at most. A request whose
    /// response the client does not read is in flight for as long as the connection.
    pub(super) async fn until_idle(&self) {
        let mut before: Option<(u64, u64)> = None;
        loop {
            tokio::time::sleep(self.idle_timeout()).await;
            let now = (self.events(), self.0.surplus.load(Ordering::Relaxed));
            let is_idle = before.is_some_and(|(events, surplus)| {
                let sent = now.1.wrapping_sub(surplus).cast_signed();
                events == now.0 && !self.is_awaited() && sent < MIN_RESPONSE_BYTES
            });
            if is_idle {
                return;
            }
            before = Some(now);
        }
    }

    /// Returns true if a request waits for its response, for which handlers have timeouts.
    fn is_awaited(&self) -> bool {
        self.begun() != self.0.answered.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that have begun, those that have ended, and parts of
    /// responses, all together.
    fn events(&self) -> u64 {
        let counts = [&self.0.begun, &self.0.ended, &self.0.parts];
        counts
            .map(|count| count.load(Ordering::Relaxed))
            .into_iter()
            .sum()
    }
}

impl InFlight {
    /// Counts the response, whose body follows.
    pub(super) fn answer(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.tracker.0.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a part of the response that is about to be sent.
    pub(super) fn sends(&self) {
        self.tracker.0.parts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.answer();
        self.tracker.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const IDLE: IdleTimeout = IdleTimeout(Duration::from_secs(75));

    /// Clients that long poll send one request after another: between a response and the next
    /// request, their connection is idle for a moment.
    #[tokio::test(start_paused = true)]
    async fn a_short_pause_between_requests_is_not_idle() {
        let tracker = IdleTracker::new(IDLE);
        let began = Instant::now();
        let IdleTimeout(idle) = IDLE;
        let moment = Duration::from_millis(1);
        let requests = async {
            sleep(idle.saturating_sub(moment)).await;
            let under_way = tracker.begin();
            sleep(idle).await;
            drop(under_way);
            sleep(2 * moment).await;
            drop(tracker.begin());
            Instant::now()
        };
        let ((), last) = tokio::join!(tracker.until_idle(), requests);
        assert!(began.elapsed() >= last.duration_since(began) + idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_still_being_sent_is_not_idle() {
        let tracker = IdleTracker::new(IDLE);
        let began = Instant::now();
        let slow_reader = async {
            drop(tracker.begin());
            for _ in 0..60 {
                sleep(Duration::from_secs(5)).await;
                tracker.wrote(4096);
            }
        };
        tokio::join!(tracker.until_idle(), slow_reader);
        assert!(began.elapsed() > Duration::from_mins(5));
        let began = Instant::now();
        let pings = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                tracker.read(17);
                tracker.wrote(17);
            }
        };
        tokio::select! {
            () = tracker.until_idle() => {}
            () = pings => {}
        }
        assert!(began.elapsed() < Duration::from_mins(3));
    }

    /// A client keeps the connection alive with pings, and its window closed.
    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_read_is_idle() {
        let tracker = IdleTracker::new(IDLE);
        let began = Instant::now();
        let mut under_way = tracker.begin();
        under_way.answer();
        tracker.until_idle().await;
        assert!(began.elapsed() < Duration::from_mins(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_for_its_response_is_not_idle() {
        let tracker = IdleTracker::new(IDLE);
        let began = Instant::now();
        let handler = async {
            let mut under_way = tracker.begin();
            sleep(Duration::from_mins(10)).await;
            under_way.answer();
        };
        tokio::join!(tracker.until_idle(), handler);
        assert!(began.elapsed() > Duration::from_mins(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_events_is_not_idle() {
        let tracker = IdleTracker::new(IDLE);
        let began = Instant::now();
        let heartbeats = async {
            let mut under_way = tracker.begin();
            under_way.answer();
            for _ in 0..40 {
                sleep(Duration::from_secs(15)).await;
                under_way.sends();
            }
        };
        tokio::join!(tracker.until_idle(), heartbeats);
        assert!(began.elapsed() > Duration::from_mins(10));
    }

    #[test]
    fn an_idle_timeout_exceeds_the_longest_wait() {
        assert!("61".parse::<IdleTimeout>().is_ok());
        for text in ["60", "3601", "75s", "-1", ""] {
            assert!(text.parse::<IdleTimeout>().is_err(), "{text}");
        }
    }
}
