//! How much a caller may ask for: so many requests a second for each key, so many open jobs for each tenant.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use darkroom_workflows::tenant::Tenant;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use moka::future::Cache;
use temporalio_client::Client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ApiKeys, Caller};
use crate::{
    problem::{Kind, Problem},
    temporal::visibility,
};

/// How long a count of open jobs is believed.
const COUNT_VALIDITY: Duration = Duration::from_secs(2);

/// How many tenants' counts are kept.
const MAX_TENANTS: u64 = 10_000;

/// How many requests of a tenant may wait for a job or follow one at a time.
const MAX_FOLLOWERS: usize = 2000;

/// The limits and how near callers are to them.
pub(crate) struct Limits {
    requests: DefaultKeyedRateLimiter<usize>,
    open_jobs: u64,
    followers: HashMap<Option<Tenant>, Arc<Semaphore>>,
    counted: Cache<Option<Tenant>, Arc<AtomicU64>>,
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
            open_jobs,
            counted: Cache::builder()
                .max_capacity(MAX_TENANTS)
                .time_to_live(COUNT_VALIDITY)
                .build(),
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

    /// Counts a job that is about to be started. The count comes from Temporal, which may be a moment behind, and is
    /// shared for two seconds: a burst may go a little over the limit, through each api process.
    pub(crate) async fn open_job(
        &self,
        client: &Client,
        tenant: Option<&Tenant>,
    ) -> Result<(), Problem> {
        let counted = self.counted.try_get_with(tenant.cloned(), async {
            visibility::count_open(client, tenant)
                .await
                .map(|open| Arc::new(AtomicU64::new(open)))
        });
        // Without a count, the start itself will tell whether Temporal is there.
        let Ok(open) = counted.await else {
            return Ok(());
        };
        if open.fetch_add(1, Ordering::Relaxed) < self.open_jobs {
            return Ok(());
        }
        let detail = format!(
            "{} jobs are open, and that is the limit; wait for some to end",
            self.open_jobs
        );
        Err(Problem::new(Kind::TooManyOpenJobs, detail).retry_after(5))
    }
}
