//! Counts the activities of a worker, so that it is replaced before it has leaked much.
//!
//! - **Fault**: the SDK's worker remembers a token of every activity that it ever ran, about 0.5
//!   KiB each, and removes none (`task_tokens_to_cancels` in temporalio-sdk 1.1.1, `src/lib.rs`).
//! - **Shown by**: the soak benchmark (`cargo bench --bench soak`), whose memory grows without
//!   this.
//! - **Belongs upstream**: one `remove` where the activity completes; see
//!   docs/upstream/activity-token-leak.md.
//! - **Remove** when the SDK forgets tokens: then a worker serves its queue until the process
//!   stops.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use temporalio_sdk::interceptors::{
    ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, Next,
};
use tokio::sync::Notify;

/// Count of the activities that a worker may still run before it is recycled.
pub struct ActivityCount {
    left: AtomicU64,
    exhausted: Notify,
}

impl ActivityCount {
    /// Counts down from a number.
    #[must_use]
    pub fn new(recycle_after: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(recycle_after),
            exhausted: Notify::new(),
        })
    }

    /// Waits until the worker has run as many.
    pub async fn exhausted(&self) {
        self.exhausted.notified().await;
    }
}

/// Interceptor that counts.
pub struct CountActivities(pub Arc<ActivityCount>);

impl ActivityInboundInterceptor for CountActivities {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        // It wraps below zero, where nobody listens.
        if self.0.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.exhausted.notify_one();
        }
        next.run(input)
    }
}
