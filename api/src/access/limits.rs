//! Limits per tenant, across all of its keys: requests a second, open jobs, followers. Each process
//! counts by itself; rate limits are divided among the processes.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use darkroom_workflows::tenant::Tenant;
use governor::{
    DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, QuantaInstant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Caller, open_jobs::OpenJobs};
use crate::problem::{Kind, Problem};

/// Limit of requests per tenant that wait for a job or follow one at a time.
const MAX_FOLLOWERS: usize = 2000;

/// Limits of all tenants, and their present use.
pub(crate) struct Limits {
    requests: DefaultKeyedRateLimiter<Tenant>,
    /// Jobs that have not ended.
    pub(crate) open_jobs: OpenJobs,
    followers: Mutex<HashMap<Option<Tenant>, Arc<Semaphore>>>,
}

impl Limits {
    /// Creates the limits of each tenant: requests a second, divided among the processes, and open
    /// jobs.
    pub(crate) fn new(
        requests_per_second: NonZeroU32,
        open_jobs: u64,
        processes: Processes,
    ) -> Self {
        let requests = processes.share(requests_per_second);
        Self {
            requests: RateLimiter::keyed(Quota::per_second(requests)),
            open_jobs: OpenJobs::new(open_jobs),
            followers: Mutex::default(),
        }
    }

    /// Counts a request of a tenant.
    ///
    /// # Errors
    /// If the tenant exceeds its rate limit.
    pub(super) fn request(&self, tenant: &Tenant) -> Result<(), Problem> {
        self.requests.check_key(tenant).map_err(|until| {
            Problem::new(
                Kind::RateLimited,
                "too many requests with the keys of this tenant",
            )
            .retry_after(wait_time(&until))
        })
    }

    /// Acquires a slot of a follower; dropping the permit releases it.
    ///
    /// # Errors
    /// If the tenant has too many followers.
    pub(crate) fn follower(&self, caller: &Caller) -> Result<OwnedSemaphorePermit, Problem> {
        let mut tenants = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // At most as many entries as there are tenants with keys.
        let permits = tenants
            .entry(caller.tenant().cloned())
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_FOLLOWERS)));
        Arc::clone(permits).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{MAX_FOLLOWERS} requests wait for jobs or follow them, and that is the limit"
            );
            Problem::new(Kind::TooManyFollowers, detail).retry_after(5)
        })
    }
}

/// Number of api processes that share the limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processes(pub(crate) NonZeroU32);

impl Processes {
    /// Returns the share of one process in a limit of all processes together: at least one.
    pub(crate) fn share(self, of_all: NonZeroU32) -> NonZeroU32 {
        NonZeroU32::new(of_all.get() / self.0).unwrap_or(NonZeroU32::MIN)
    }
}

/// Returns the seconds until the rate limiter may admit another request.
pub(crate) fn wait_time(until: &NotUntil<QuantaInstant>) -> u32 {
    let wait = until.wait_time_from(DefaultClock::default().now());
    u32::try_from(wait.as_secs())
        .unwrap_or(u32::MAX)
        .saturating_add(1)
}
