//! How much a caller may ask for: so many requests a second for each key, so many open jobs and followers for each tenant.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use darkroom_workflows::tenant::Tenant;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ApiKeys, Caller, open_jobs::OpenJobs};
use crate::problem::{Kind, Problem};

/// How many requests of a tenant may wait for a job or follow one at a time.
const MAX_FOLLOWERS: usize = 2000;

/// The limits and how near callers are to them.
pub(crate) struct Limits {
    requests: DefaultKeyedRateLimiter<usize>,
    /// Jobs that have not ended.
    pub(crate) open_jobs: OpenJobs,
    followers: HashMap<Option<Tenant>, Arc<Semaphore>>,
}

impl Limits {
    /// So many requests a second for each key, and so many open jobs for each tenant.
    pub(crate) fn new(keys: &ApiKeys, requests_per_second: NonZeroU32, open_jobs: u64) -> Self {
        let tenants = keys.tenants().cloned().map(Some).chain([None]);
        Self {
            followers: tenants
                .map(|tenant| (tenant, Arc::new(Semaphore::new(MAX_FOLLOWERS))))
                .collect(),
            requests: RateLimiter::keyed(Quota::per_second(requests_per_second)),
            open_jobs: OpenJobs::new(open_jobs),
        }
    }

    /// Counts a request with the key in this place.
    pub(super) fn request(&self, key: usize) -> Result<(), Problem> {
        self.requests.check_key(&key).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let seconds = u32::try_from(wait.as_secs())
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            Problem::new(Kind::RateLimited, "too many requests with this key").retry_after(seconds)
        })
    }

    /// A place among those who wait and follow; dropping it gives it back.
    pub(crate) fn follower(&self, caller: &Caller) -> Result<OwnedSemaphorePermit, Problem> {
        let places = self
            .followers
            .get(&caller.tenant)
            .ok_or_else(Problem::internal)?;
        Arc::clone(places).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "{MAX_FOLLOWERS} requests wait for jobs or follow them, and that is the limit"
            );
            Problem::new(Kind::TooManyFollowers, detail).retry_after(5)
        })
    }
}
