//! How much a tenant may ask for, with whichever of its keys: so many requests a second, open jobs, followers and lists. Each
//! process counts by itself; what all of them admit together is divided among them.

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

/// How many requests of a tenant may wait for a job or follow one at a time.
const MAX_FOLLOWERS: usize = 2000;

/// The limits and how near callers are to them.
pub(crate) struct Limits {
    requests: DefaultKeyedRateLimiter<Tenant>,
    /// Jobs that have not ended.
    pub(crate) open_jobs: OpenJobs,
    followers: Mutex<HashMap<Option<Tenant>, Arc<Semaphore>>>,
}

impl Limits {
    /// So many requests a second, and so many open jobs, for each tenant, through this many processes.
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

    /// Counts a request of a tenant's.
    pub(super) fn request(&self, tenant: &Tenant) -> Result<(), Problem> {
        self.requests.check_key(tenant).map_err(|until| {
            Problem::new(
                Kind::RateLimited,
                "too many requests with the keys of this tenant",
            )
            .retry_after(wait_time(&until))
        })
    }

    /// A place among those who wait and follow; dropping it gives it back.
    pub(crate) fn follower(&self, caller: &Caller) -> Result<OwnedSemaphorePermit, Problem> {
        let mut tenants = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // As many as there are tenants with keys.
        let places = tenants
            .entry(caller.tenant().cloned())
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_FOLLOWERS)));
        Arc::clone(places).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{MAX_FOLLOWERS} requests wait for jobs or follow them, and that is the limit"
            );
            Problem::new(Kind::TooManyFollowers, detail).retry_after(5)
        })
    }
}

/// How many api processes serve together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processes(pub(crate) NonZeroU32);

impl Processes {
    /// What one of them may admit of what all may together: one at least.
    pub(crate) fn share(self, of_all: NonZeroU32) -> NonZeroU32 {
        NonZeroU32::new(of_all.get() / self.0).unwrap_or(NonZeroU32::MIN)
    }
}

/// After how many seconds another try may be let through.
pub(crate) fn wait_time(until: &NotUntil<QuantaInstant>) -> u32 {
    let wait = until.wait_time_from(DefaultClock::default().now());
    u32::try_from(wait.as_secs())
        .unwrap_or(u32::MAX)
        .saturating_add(1)
}
