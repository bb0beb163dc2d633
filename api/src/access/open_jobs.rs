//! Open jobs per tenant: the latest count of Temporal's visibility store, and the jobs that this
//! process has started since. A server answers few visibility queries a second, for all clients
//! together, and with a lag. So counts are cached, and a tenant is counted again when it is near
//! its limit.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use darkroom_workflows::tenant::Tenant;
use moka::future::Cache;
use temporalio_client::Client;

use crate::{
    metrics,
    problem::{Kind, Problem},
    visibility,
};

/// Time for which a count is valid for a tenant that is not near its limit.
const VALIDITY: Duration = Duration::from_secs(30);

/// Interval between two counts of a tenant at its limit.
const RECOUNT: Duration = Duration::from_secs(1);

/// Lag of the visibility store: a job started this long before a count may be missing from it.
const LAG: Duration = Duration::from_secs(2);

/// Limit of cached counts, one per tenant, and the time without a create after which one is
/// evicted.
const MAX_TENANTS: u64 = 10_000;
const IDLE: Duration = Duration::from_mins(10);

/// Open jobs of all tenants, and the limit per tenant.
pub(crate) struct OpenJobs {
    limit: u64,
    tenants: Cache<Option<Tenant>, Arc<Tally>>,
}

impl OpenJobs {
    pub(super) fn new(limit: u64) -> Self {
        let tenants = Cache::builder().max_capacity(MAX_TENANTS);
        Self {
            limit,
            tenants: tenants.time_to_idle(IDLE).build(),
        }
    }

    /// Admits a job that is about to be started. A process learns of the jobs of others only when
    /// it counts: until then, each of them may admit as many.
    ///
    /// # Errors
    /// If as many jobs of the tenant are open as the limit allows.
    pub(crate) async fn admit(
        &self,
        client: &Client,
        tenant: Option<&Tenant>,
    ) -> Result<Admission, Problem> {
        let key = tenant.cloned();
        let tally = self.tenants.get_with(key, async { Arc::default() }).await;
        if tally.lock().needs_count(self.limit) {
            // Creates that come while it is counted wait for the same count.
            let _counting = tally.counting.lock().await;
            let is_due = {
                let state = tally.lock();
                state.needs_count(self.limit) && state.is_asked_before(Instant::now(), RECOUNT)
            };
            if is_due {
                tally.count(client, tenant).await;
            }
        } else if tally.lock().is_asked_before(Instant::now(), VALIDITY) {
            let (tally, client, tenant) = (Arc::clone(&tally), client.clone(), tenant.cloned());
            tokio::spawn(async move {
                if let Ok(_counting) = tally.counting.try_lock() {
                    tally.count(&client, tenant.as_ref()).await;
                }
            });
        }
        let mut state = tally.lock();
        metrics::count_age(state.counted.map(|counted| counted.at.elapsed()));
        if state.open() < self.limit {
            state.starting += 1;
            drop(state);
            return Ok(Admission { tally });
        }
        let limit = self.limit;
        let detail = format!("{limit} jobs are open, and that is the limit; wait for some to end");
        Err(Problem::new(Kind::TooManyOpenJobs, detail).retry_after(5))
    }
}

/// Permit to start a job. Dropping it releases it, unless the job was started.
pub(crate) struct Admission {
    tally: Arc<Tally>,
}

impl Admission {
    /// Keeps the permit, as the job was started.
    pub(crate) fn commit(self) {
        // The drop that follows removes it from `starting`.
        self.tally.lock().started.push_back(Instant::now());
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.tally.lock().starting -= 1;
    }
}

/// Open jobs of a tenant, as far as they are known.
#[derive(Default)]
struct Tally {
    state: Mutex<State>,
    /// Held while the tenant is counted.
    counting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Latest count.
    counted: Option<Count>,
    /// Time of the latest attempt to count.
    asked: Option<Instant>,
    /// Number of jobs that are being started: no count is certain to include them.
    starting: u64,
    /// Start times of jobs that the latest count may not include.
    started: VecDeque<Instant>,
}

#[derive(Clone, Copy)]
struct Count {
    open: u64,
    /// Time at which the count was requested.
    at: Instant,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts. If that fails, the latest count and the jobs started since remain in use. Without
    /// any count, the start itself fails if Temporal is unavailable.
    async fn count(&self, client: &Client, tenant: Option<&Tenant>) {
        let at = Instant::now();
        self.lock().asked = Some(at);
        let counted = visibility::count_open(client, tenant).await;
        let mut state = self.lock();
        // A create that waited for this count does not count again, however long it took.
        state.asked = Some(Instant::now());
        match counted {
            Ok(open) => state.set(Count { open, at }),
            Err(status) => tracing::warn!(code = ?status.code(), "cannot count open jobs"),
        }
    }
}

impl State {
    /// Returns an upper bound of the open jobs.
    fn open(&self) -> u64 {
        let counted = self.counted.map_or(0, |count| count.open);
        counted + self.starting + self.started.len() as u64
    }

    /// Returns true if nothing can be decided without another count.
    fn needs_count(&self, limit: u64) -> bool {
        self.counted.is_none() || self.open() >= limit
    }

    /// Returns true if the latest attempt to count is at least this old.
    fn is_asked_before(&self, now: Instant, age: Duration) -> bool {
        self.asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= age)
    }

    fn set(&mut self, count: Count) {
        let is_in_it = |began: &Instant| *began + LAG < count.at;
        while self.started.front().is_some_and(is_in_it) {
            self.started.pop_front();
        }
        self.counted = Some(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_started_just_before_a_count_are_added() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut state = State::default();
        assert!(state.needs_count(5) && state.is_asked_before(begin, RECOUNT));
        state.asked = Some(begin);
        assert!(state.needs_count(5), "a concurrent create waits for it");
        state.set(Count { open: 3, at: begin });
        assert!(!state.needs_count(5) && !state.is_asked_before(after(9), VALIDITY));
        assert!(state.is_asked_before(after(30), VALIDITY));
        state.started.extend([after(7), after(9)]);
        assert_eq!(state.open(), 5);
        assert!(state.needs_count(5), "it is at its limit");
        state.asked = Some(after(10));
        assert!(!state.is_asked_before(after(10), RECOUNT));
        // The first may be one of the four, the second may be missing from them.
        state.set(Count {
            open: 4,
            at: after(10),
        });
        assert_eq!(state.open(), 5);
        // A job that was admitted long ago and is not started yet is in no count.
        state.starting += 1;
        state.set(Count {
            open: 4,
            at: after(60),
        });
        assert_eq!(state.open(), 5);
    }
}
