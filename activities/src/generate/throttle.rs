//! Where attempts tell that the provider asks to slow down. What comes of it is not for them to say.

use std::time::Duration;

use tokio::sync::mpsc;

/// How many waits are kept that nobody has heard of.
const KEPT: usize = 16;

/// Where it is told.
#[derive(Clone, Debug)]
pub struct Throttle(mpsc::Sender<Duration>);

/// Where it is heard.
#[derive(Debug)]
pub struct Refusals(mpsc::Receiver<Duration>);

impl Throttle {
    /// A throttle, and where it is heard.
    #[must_use]
    pub fn new() -> (Self, Refusals) {
        let (sender, receiver) = mpsc::channel(KEPT);
        (Self(sender), Refusals(receiver))
    }

    pub(super) fn refused(&self, retry_after: Duration) {
        // One that is not heard is like the others that are.
        let _ = self.0.try_send(retry_after);
    }
}

impl Refusals {
    /// How many refusals there were since the last time, and the longest wait that was asked for; they are waited for.
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
