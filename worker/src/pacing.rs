//! How often a provider is asked, by all workers together: Temporal dispatches no more of a queue's
//! activities a second. Where the provider allows less than was configured, and says so, the queue
//! is slowed down, and let go faster again little by little.

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use darkroom_activities::generate::Refusals;
use darkroom_temporal::task_queues;
use darkroom_workflows::job::timestamp;
use jiff::{SignedDuration, Timestamp};
use temporalio_client::{Client, tonic::Status};
use tokio::time::Instant;

/// How much of a limit is used: Temporal's own clock is a little early.
const SHARE: f64 = 0.95;

/// How often to look whether a queue can be let go faster.
const INTERVAL: Duration = Duration::from_secs(15);

/// How long a rate is tried before the next.
const TRIED_FOR: Duration = Duration::from_mins(1);

/// How long the pace is kept that the provider has named: whoever is refused for a trial comes
/// after those behind it.
const NAMED_FOR: Duration = Duration::from_mins(5);

/// How much faster the next is.
const FASTER: f64 = 1.5;

/// A wait from which on a provider's word is taken for its pace, and not for that of a moment.
const PACE: Duration = Duration::from_secs(5);

/// The time in which refusals are counted, and the share of what is asked in it that may be
/// refused: where a provider's clock and Temporal's differ by a moment, the pace is still right.
const COUNTED: Duration = Duration::from_secs(10);
const TOLERATED: f64 = 0.1;

/// The rate beyond which a queue without a limit of its own needs none.
const UNLIMITED: f64 = 20.0;

/// How long a new rate takes to show.
const SETTLES: SignedDuration = SignedDuration::from_secs(10);

/// The slowest rate: one a minute.
const SLOWEST: f64 = 1.0 / 60.0;

/// How much earlier than its turn Temporal dispatches after a pause.
const EARLY: f64 = 1.0;

/// Marks the limits that are ours: what the provider says that its pace is.
const NAMED: &str = "darkroom: the provider allows no more";

/// And what it may allow.
const TRIED: &str = "darkroom: the provider may allow this";

/// How many activities a second are dispatched under a limit a minute.
pub(crate) fn per_second(per_minute: NonZeroU32) -> f64 {
    rate(60.0 / f64::from(per_minute.get()))
}

/// The rate at which the provider gets no more than one in so many seconds.
fn rate(interval: f64) -> f64 {
    // What comes early is within the second's worth that a provider takes at once, if that is more
    // than one.
    let early = if interval < 1.0 { 0.0 } else { EARLY };
    (interval / SHARE + early).recip()
}

/// A queue whose provider may allow less than was configured.
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

    /// Keeps the queue at the provider's pace. It never returns.
    pub(crate) async fn keep(self, mut refusals: Refusals) {
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
                tracing::warn!(queue = self.queue, code = ?status.code(), "cannot set the pace of a queue");
            }
        }
    }

    async fn slow_down(&self, refusals: usize, retry_after: Duration) -> Result<(), Status> {
        let limited = self.current().await?;
        let age = limited
            .as_ref()
            .map(|limit| Timestamp::now().duration_since(limit.since));
        if age.is_some_and(|age| age < SETTLES) {
            // What was under way when the queue was slowed down says nothing of its pace.
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
                "the provider asks to slow down"
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
        let kept_for = if limit.is_named { NAMED_FOR } else { TRIED_FOR };
        if Duration::try_from(age).unwrap_or_default() < kept_for {
            return Ok(());
        }
        let rate = faster(limit.rate, self.configured);
        tracing::info!(
            queue = self.queue,
            per_minute = rate.map(|rate| rate * 60.0),
            "the queue is let go faster"
        );
        self.set(rate, TRIED).await
    }

    /// The limit that we have set.
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

/// A limit of ours.
struct Limit {
    rate: f64,
    since: Timestamp,
    /// Whether the provider has named it.
    is_named: bool,
}

/// Whether so many refusals say nothing of the pace.
fn is_tolerable(refusals: usize, retry_after: Duration, current: f64) -> bool {
    let tolerated = TOLERATED * current * COUNTED.as_secs_f64();
    retry_after < PACE
        && u32::try_from(refusals).is_ok_and(|refusals| f64::from(refusals) <= tolerated)
}

/// The rate after a refusal: what the provider says that its pace is, or half of what there was.
fn slower(current: Option<f64>, retry_after: Duration) -> f64 {
    let hinted = rate(retry_after.as_secs_f64().max(1.0));
    let slower = match current {
        Some(current) if retry_after < PACE => current / 2.0,
        Some(current) => hinted.min(current),
        None => hinted,
    };
    slower.max(SLOWEST)
}

/// The rate after a while without a refusal; none if that is as good as what was configured.
fn faster(rate: f64, configured: Option<f64>) -> Option<f64> {
    let rate = rate * FASTER;
    (rate < configured.unwrap_or(UNLIMITED)).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_names_its_pace_gets_it_at_once() {
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
    fn a_few_refusals_for_a_moment_are_no_pace() {
        let second = Duration::from_secs(1);
        assert!(is_tolerable(9, second, 9.0));
        assert!(!is_tolerable(10, second, 9.0));
        assert!(!is_tolerable(1, 10 * second, 9.0));
        assert!(!is_tolerable(1, second, 0.2));
    }

    #[test]
    fn a_queue_is_let_go_little_by_little() {
        assert_eq!(faster(2.0, Some(9.0)), Some(3.0));
        assert_eq!(faster(7.0, Some(9.0)), None);
        assert_eq!(faster(15.0, None), None);
    }
}
