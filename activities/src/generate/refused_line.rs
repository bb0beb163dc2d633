//! The order in which jobs retry that the provider refused at about the same time: the oldest job
//! first.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use darkroom_workflows::job::JobId;
use jiff::Timestamp;
use tokio::time::Instant;

/// Longest time between refusals that belong together: those of calls in flight when the first one
/// came.
const GATHERING_TIME: Duration = Duration::from_millis(300);

/// Delay between two jobs in the line: enough for their order to survive timers and queues.
const STEP: Duration = Duration::from_millis(100);

/// The line of refused jobs, by their age.
#[derive(Clone, Debug, Default)]
pub struct RefusedLine(Arc<Mutex<BTreeMap<Position, Instant>>>);

type Position = (Timestamp, JobId);

impl RefusedLine {
    /// Joins the line, and waits for others that are refused at the same time. Returns the delay of
    /// this job's retry after that of the first in line.
    pub(super) async fn join(&self, since: Timestamp, job_id: &JobId) -> Duration {
        let position = (since, *job_id);
        let now = Instant::now();
        {
            let mut line = self.lock();
            line.retain(|_, joined| now.duration_since(*joined) < 2 * GATHERING_TIME);
            line.insert(position, now);
        }
        tokio::time::sleep(GATHERING_TIME).await;
        let before = self.lock().range(..&position).count();
        STEP * u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Position, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join3;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn older_jobs_retry_first() {
        let line = RefusedLine::default();
        let id: JobId = "01a209ea-1ee1-7280-bf3d-b03044971ad4".parse().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let three = join3(
            line.join(at(3), &id),
            line.join(at(1), &id),
            line.join(at(2), &id),
        );
        assert_eq!(three.await, (2 * STEP, Duration::ZERO, STEP));
        tokio::time::sleep(2 * GATHERING_TIME).await;
        assert_eq!(line.join(at(9), &id).await, Duration::ZERO);
    }
}
