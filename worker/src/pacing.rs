//! Rate limits for calls to a provider, for all workers together: Temporal limits the activities
//! that it dispatches from a task queue. If the provider rate limits at less than was configured,
//! the queue is slowed down, and sped up again step by step.

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use darkroom_activities::generate::Refusals;
use darkroom_temporal::task_queues;
use darkroom_workflows::job::timestamp;
use jiff::{SignedDuration, Timestamp};
use temporalio_client::{Client, tonic::Status};
use tokio::time::Instant;

/// Share of a limit that is used: Temporal dispatches slightly too early.
const USED_SHARE: f64 = 0.95;

/// Interval between two checks whether a queue can be sped up.
const INTERVAL: Duration = Duration::from_secs(15);

/// Time for which a rate is tried before the next higher one.
const TRIAL_TIME: Duration = Duration::from_mins(1);

/// Time for which a rate is kept that follows from the provider's `Retry-After`. It is longer than
/// [`TRIAL_TIME`], because a job that is refused during a trial loses its position in the queue.
const HINTED_TIME: Duration = Duration::from_mins(5);

/// Factor from one rate to the next higher one.
const SPEED_UP: f64 = 1.5;

/// Shortest `Retry-After` that counts as the provider's rate, and not as a momentary overload.
const PACE: Duration = Duration::from_secs(5);

/// Window in which refusals are counted, and the share of calls in it that may be refused without a
/// slowdown: the provider and Temporal may count a moment apart.
const COUNTED: Duration = Duration::from_secs(10);
const TOLERATED: f64 = 0.1;

/// Rate, in calls a second, from which on a queue without a configured limit is not limited.
const UNLIMITED: f64 = 20.0;

/// Time until a new rate takes effect: calls under way are refused at the old one.
const SETTLE_TIME: SignedDuration = SignedDuration::from_secs(10);

/// Lowest rate: one call a minute.
const SLOWEST: f64 = 1.0 / 60.0;

/// Seconds by which Temporal may dispatch too early after a pause.
const EARLY_SECONDS: f64 = 1.0;

/// Reason of a rate limit that follows from the provider's `Retry-After`. By the reasons, Darkroom
/// recognizes its own limits.
const NAMED: &str = "darkroom: the provider allows no more";

/// Reason of a rate limit that is a trial.
const TRIED: &str = "darkroom: the provider may allow this";

/// Converts a limit a minute to a dispatch rate a second.
pub(crate) fn per_second(per_minute: NonZeroU32) -> f64 {
    rate(60.0 / f64::from(per_minute.get()))
}

/// Returns the dispatch rate at which the provider gets at most one call in `interval` seconds.
fn rate(interval: f64) -> f64 {
    // Above one call a second, an early call is within the burst of one second that a provider
    // accepts.
    let early = if interval < 1.0 { 0.0 } else { EARLY_SECONDS };
    (interval / USED_SHARE + early).recip()
}

/// A task queue whose provider may rate limit at less than was configured.
pub(crate) struct Pacing {
    client: Client,
    queue: &'static str,
    configured: Option<f64>,
}

impl Pacing {
    pub(crate) fn new(client: Client, queue: &'static str, configured: Option<f64>) -> Self {
        Self {
            client,
            queue,
            configured,
        }
    }

    /// Adapts the rate limit of the queue to the provider's refusals. Never returns.
    pub(crate) async fn adapt(self, mut refusals: Refusals) {
        let mut counted = VecDeque::new();
        loop {
            let kept = tokio::select! {
                (count, retry_after) = refusals.next() => {
                    let now = Instant::now();
                    counted.retain(|at| now.duration_since(*at) < COUNTED);
                    counted.extend(std::iter::repeat_n(now, count));
                    self.slow_down(counted.len(), retry_after).await
                }
                () = tokio::time::sleep(INTERVAL) => self.speed_up().await,
            };
            if let Err(status) = kept {
                tracing::warn!(queue = self.queue, code = ?status.code(), "cannot set the rate limit of a task queue");
            }
        }
    }

    async fn slow_down(&self, refusals: usize, retry_after: Duration) -> Result<(), Status> {
        let limited = self.current().await?;
        let age = limited
            .as_ref()
            .map(|limit| Timestamp::now().duration_since(limit.since));
        if age.is_some_and(|age| age < SETTLE_TIME) {
            // This call was dispatched before the last slowdown took effect.
            return Ok(());
        }
        let current = limited.map(|limit| limit.rate).or(self.configured);
        if current.is_some_and(|current| is_tolerable(refusals, retry_after, current)) {
            return Ok(());
        }
        let rate = slower(current, retry_after);
        if current.is_none_or(|current| rate < current) {
            tracing::warn!(
                queue = self.queue,
                per_minute = rate * 60.0,
                "the provider rate limits: the queue is slowed down"
            );
            let reason = if retry_after < PACE { TRIED } else { NAMED };
            self.set(Some(rate), reason).await?;
        }
        Ok(())
    }

    async fn speed_up(&self) -> Result<(), Status> {
        let Some(limit) = self.current().await? else {
            return Ok(());
        };
        let age = Timestamp::now().duration_since(limit.since);
        let kept_for = if limit.is_named {
            HINTED_TIME
        } else {
            TRIAL_TIME
        };
        if Duration::try_from(age).unwrap_or_default() < kept_for {
            return Ok(());
        }
        let rate = faster(limit.rate, self.configured);
        tracing::info!(
            queue = self.queue,
            per_minute = rate.map(|rate| rate * 60.0),
            "the queue is sped up"
        );
        self.set(rate, TRIED).await
    }

    /// Returns the rate limit of the queue if Darkroom has set it.
    async fn current(&self) -> Result<Option<Limit>, Status> {
        let Some(limit) = task_queues::rate_limit(&self.client, self.queue).await? else {
            return Ok(None);
        };
        let is_named = match limit.reason.as_str() {
            NAMED => true,
            TRIED => false,
            _ => return Ok(None),
        };
        Ok(Some(Limit {
            rate: limit.per_second,
            since: timestamp(limit.set_at),
            is_named,
        }))
    }

    async fn set(&self, rate: Option<f64>, reason: &str) -> Result<(), Status> {
        task_queues::set_rate_limit(&self.client, self.queue, rate, reason).await
    }
}

/// A rate limit that Darkroom has set.
struct Limit {
    rate: f64,
    since: Timestamp,
    /// True if it follows from the provider's `Retry-After`.
    is_named: bool,
}

/// Returns true if so many refusals are no reason to slow down.
fn is_tolerable(refusals: usize, retry_after: Duration, current: f64) -> bool {
    let tolerated = TOLERATED * current * COUNTED.as_secs_f64();
    retry_after < PACE
        && u32::try_from(refusals).is_ok_and(|refusals| f64::from(refusals) <= tolerated)
}

/// Returns the rate after a refusal: that of the provider's `Retry-After`, or half the current one.
fn slower(current: Option<f64>, retry_after: Duration) -> f64 {
    let hinted = rate(retry_after.as_secs_f64().max(1.0));
    let slower = match current {
        Some(current) if retry_after < PACE => current / 2.0,
        Some(current) => hinted.min(current),
        None => hinted,
    };
    slower.max(SLOWEST)
}

/// Returns the next higher rate; `None` if the configured one is not higher.
fn faster(rate: f64, configured: Option<f64>) -> Option<f64> {
    let rate = rate * SPEED_UP;
    (rate < configured.unwrap_or(UNLIMITED)).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_sets_the_rate() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let tenth = 1.0 / (10.0 / 0.95 + 1.0);
        assert!(close(slower(Some(9.0), Duration::from_secs(10)), tenth));
        assert!(close(slower(Some(0.05), Duration::from_secs(10)), 0.05));
        assert!(close(slower(Some(9.0), Duration::from_secs(1)), 4.5));
        let ninth = 1.0 / (9.0 / 0.95 + 1.0);
        assert!(close(slower(None, Duration::from_secs(9)), ninth));
        assert!(close(slower(Some(0.02), Duration::from_secs(1)), SLOWEST));
        assert!(close(per_second(NonZeroU32::new(6).unwrap()), tenth));
        assert!(close(per_second(NonZeroU32::new(600).unwrap()), 9.5));
    }

    #[test]
    fn few_short_refusals_are_tolerable() {
        let second = Duration::from_secs(1);
        assert!(is_tolerable(9, second, 9.0));
        assert!(!is_tolerable(10, second, 9.0));
        assert!(!is_tolerable(1, 10 * second, 9.0));
        assert!(!is_tolerable(1, second, 0.2));
    }

    #[test]
    fn the_rate_rises_in_steps() {
        assert_eq!(faster(2.0, Some(9.0)), Some(3.0));
        assert_eq!(faster(7.0, Some(9.0)), None);
        assert_eq!(faster(15.0, None), None);
    }
}
