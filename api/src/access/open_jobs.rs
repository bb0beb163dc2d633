//! How many jobs of a tenant are open: what Temporal's visibility store counted last, and the jobs that this process has
//! started since. A server answers few such questions a second, for all, and answers them a moment behind: so it is asked now
//! and then, and anew when a tenant is near its limit.

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

/// How long a count is believed of a tenant that is not near its limit.
const VALIDITY: Duration = Duration::from_secs(30);

/// How soon a tenant that is at its limit is counted again.
const RECOUNT: Duration = Duration::from_secs(1);

/// How far behind a count may be: what was started so long before it may be missing in it.
const LAG: Duration = Duration::from_secs(2);

/// How many tenants' counts are kept, and for how long without a create.
const MAX_TENANTS: u64 = 10_000;
const IDLE: Duration = Duration::from_mins(10);

/// The open jobs of tenants, and how many there may be of each.
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

    /// Admits a job that is about to be started. Processes do not know of each other's until they count: together they may
    /// admit so many more.
    ///
    /// # Errors
    /// If as many are open as may be.
    pub(crate) async fn admit(
        &self,
        client: &Client,
        tenant: Option<&Tenant>,
    ) -> Result<Admission, Problem> {
        let key = tenant.cloned();
        let tally = self.tenants.get_with(key, async { Arc::default() }).await;
        if tally.lock().needs_count(self.limit) {
            // Whoever comes while it is counted waits for the same count.
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
        metrics::judged_by_count(state.counted.map(|counted| counted.at.elapsed()));
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

/// Leave to start a job. It is given back unless the job was started.
pub(crate) struct Admission {
    tally: Arc<Tally>,
}

impl Admission {
    /// The job was started.
    pub(crate) fn keep(self) {
        // Dropping it takes it from those that are being started.
        self.tally.lock().started.push_back(Instant::now());
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.tally.lock().starting -= 1;
    }
}

/// What is known of a tenant's open jobs.
#[derive(Default)]
struct Tally {
    state: Mutex<State>,
    /// Held while it is counted.
    counting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The last count.
    counted: Option<Count>,
    /// When it was last tried to count.
    asked: Option<Instant>,
    /// How many are being started: no count may be believed to have them.
    starting: u64,
    /// When jobs were started that the last count may lack.
    started: VecDeque<Instant>,
}

#[derive(Clone, Copy)]
struct Count {
    open: u64,
    /// When it was asked for.
    at: Instant,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts. If that fails, the last count and what was started since hold; without any, the start itself will tell whether
    /// Temporal is there.
    async fn count(&self, client: &Client, tenant: Option<&Tenant>) {
        let at = Instant::now();
        self.lock().asked = Some(at);
        let counted = visibility::count_open(client, tenant).await;
        let mut state = self.lock();
        // Whoever has waited for it asks no second time, however long it took.
        state.asked = Some(Instant::now());
        match counted {
            Ok(open) => state.set(Count { open, at }),
            Err(status) => tracing::warn!(code = ?status.code(), "cannot count open jobs"),
        }
    }
}

impl State {
    /// How many are open, at most.
    fn open(&self) -> u64 {
        let counted = self.counted.map_or(0, |count| count.open);
        counted + self.starting + self.started.len() as u64
    }

    /// Whether nothing can be said before there is a count.
    fn needs_count(&self, limit: u64) -> bool {
        self.counted.is_none() || self.open() >= limit
    }

    /// Whether it was not tried to count for so long.
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
    fn a_count_may_lack_what_was_started_just_before() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut state = State::default();
        assert!(state.needs_count(5) && state.is_asked_before(begin, RECOUNT));
        state.asked = Some(begin);
        assert!(state.needs_count(5), "whoever comes meanwhile waits for it");
        state.set(Count { open: 3, at: begin });
        assert!(!state.needs_count(5) && !state.is_asked_before(after(9), VALIDITY));
        assert!(state.is_asked_before(after(30), VALIDITY));
        state.started.extend([after(7), after(9)]);
        assert_eq!(state.open(), 5);
        assert!(state.needs_count(5), "it is at its limit");
        state.asked = Some(after(10));
        assert!(!state.is_asked_before(after(10), RECOUNT));
        // The one may be among the four, the other may not.
        state.set(Count {
            open: 4,
            at: after(10),
        });
        assert_eq!(state.open(), 5);
        // One that was admitted long ago and is not started yet is in no count.
        state.starting += 1;
        state.set(Count {
            open: 4,
            at: after(60),
        });
        assert_eq!(state.open(), 5);
    }
}
