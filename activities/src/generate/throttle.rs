//! Notices of the provider's rate limit: attempts send the delays that the provider asks for. The
//! receiver decides what to do about them.

use std::time::Duration;

use tokio::sync::mpsc;

/// Capacity of the channel.
const KEPT: usize = 16;

/// Sender of the notices.
#[derive(Clone, Debug)]
pub struct Throttle(mpsc::Sender<Duration>);

/// Receiver of the notices.
#[derive(Debug)]
pub struct Refusals(mpsc::Receiver<Duration>);

impl Throttle {
    /// Creates a connected sender and receiver.
    #[must_use]
    pub fn new() -> (Self, Refusals) {
        let (sender, receiver) = mpsc::channel(KEPT);
        (Self(sender), Refusals(receiver))
    }

    pub(super) fn refused(&self, retry_after: Duration) {
        // Ignored: if the channel is full, the receiver has enough notices.
        let _ = self.0.try_send(retry_after);
    }
}

impl Refusals {
    /// Waits for refusals. Returns how many there were since the last call, and the longest delay
    /// that the provider asked for.
    pub async fn next(&mut self) -> (usize, Duration) {
        let Some(mut longest) = self.0.recv().await else {
            return std::future::pending().await;
        };
        let mut count = 1;
        while let Ok(further) = self.0.try_recv() {
            count += 1;
            longest = longest.max(further);
        }
        (count, longest)
    }
}
