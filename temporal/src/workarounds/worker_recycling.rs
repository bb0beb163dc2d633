//! Counts the activities of a worker, so that it is recycled before it has leaked much memory.
//!
//! - **Fault**: the SDK's worker keeps a token of each activity that it has run, about 0.5 KiB
//!   each, and removes none (`task_tokens_to_cancels` in temporalio-sdk 1.1.1, `src/lib.rs`).
//! - **Shown by**: tests/it/workarounds.rs; and by the soak benchmark (`cargo bench --bench soak`):
//!   without recycling, the memory of the worker grows.
//! - **Belongs upstream**: remove the token when the activity has completed; see
//!   docs/upstream/activity-token-leak.md.
//! - **Remove** when the SDK removes tokens: then a worker serves its queue until the process
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
    /// Creates a count that is exhausted after so many activities.
    #[must_use]
    pub fn new(recycle_after: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(recycle_after),
            exhausted: Notify::new(),
        })
    }

    /// Waits until the last of them has started.
    pub async fn exhausted(&self) {
        self.exhausted.notified().await;
    }
}

/// Interceptor that counts the activities of a worker.
pub struct CountActivities(pub Arc<ActivityCount>);

impl ActivityInboundInterceptor for CountActivities {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        // Below zero the count wraps around, without effect: the worker is recycled by then.
        if self.0.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.exhausted.notify_one();
        }
        next.run(input)
    }
}
