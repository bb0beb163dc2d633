//! Lists of jobs as Temporal's visibility store has them. It answers few questions a second, for all: a page that was listed a
//! moment ago is not asked for again, each tenant may ask for some, and all of them together leave room for what creates ask.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use darkroom_types::tenant::Tenant;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use moka::future::Cache;

use super::found::Found;
use crate::{
    access::{Caller, Processes, wait_time},
    context::Context,
    problem::{Kind, Problem},
    temporal::{self, visibility},
};

/// How long a page is as good as just listed.
const VALIDITY: Duration = Duration::from_secs(1);

/// How many pages are kept.
const MAX_PAGES: u64 = 1000;

/// How many pages a second a tenant may have listed, and how many at once after a pause.
const OF_TENANT: NonZeroU32 = NonZeroU32::new(2).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// How many questions a second lists may ask in all: a server answers ten by default, and creates ask as well, and those who
/// follow jobs.
const OF_ALL: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// How long a list waits for its turn.
const TURN: Duration = Duration::from_secs(3);

/// What a page is asked for by.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ListQuery {
    /// The filter, in Temporal's words; the tenant is part of it.
    pub(super) filter: String,
    pub(super) limit: u8,
    /// Where to go on; empty for the beginning.
    pub(super) place: Vec<u8>,
}

/// A page.
pub(super) struct Listed {
    pub(super) runs: Vec<Found>,
    pub(super) next_place: Vec<u8>,
}

/// Pages that were listed lately, and how many more may be.
pub(crate) struct Lists {
    pages: Cache<ListQuery, Arc<Listed>>,
    tenants: DefaultKeyedRateLimiter<Option<Tenant>>,
    all: DefaultDirectRateLimiter,
}

impl Lists {
    pub(crate) fn new(processes: Processes) -> Self {
        let pages = Cache::builder()
            .max_capacity(MAX_PAGES)
            .time_to_live(VALIDITY);
        Self {
            pages: pages.build(),
            tenants: RateLimiter::keyed(
                Quota::per_second(processes.share(OF_TENANT)).allow_burst(processes.share(BURST)),
            ),
            all: RateLimiter::direct(Quota::per_second(processes.share(OF_ALL))),
        }
    }

    /// A page as it was a moment ago.
    ///
    /// # Errors
    /// If the tenant asks for too many, or Temporal does not answer.
    pub(super) async fn read(
        &self,
        context: &Context,
        caller: &Caller,
        query: ListQuery,
    ) -> Result<Arc<Listed>, Problem> {
        let listed = self.list(context, caller, query.clone());
        let page = self.pages.try_get_with(query, listed).await;
        page.map_err(|problem| Problem::clone(&problem))
    }

    /// The runs of a caller's jobs that are open, and of those that have closed since a time.
    ///
    /// # Errors
    /// If the tenant asks for too many, or Temporal does not answer.
    pub(crate) async fn changed_since(
        &self,
        context: &Context,
        caller: &Caller,
        since: Timestamp,
    ) -> Result<Vec<Found>, Problem> {
        let admitted = self.tenants.check_key(&caller.tenant().cloned());
        admitted.map_err(|until| too_many(wait_time(&until)))?;
        let client = context.temporal.client()?;
        self.turn().await?;
        let runs = visibility::open_or_closed_since(client, caller.tenant(), since).await;
        let runs = runs.map_err(|status| temporal::problem(&status))?;
        Ok(runs.into_iter().filter_map(Found::of).collect())
    }

    async fn list(
        &self,
        context: &Context,
        caller: &Caller,
        query: ListQuery,
    ) -> Result<Arc<Listed>, Problem> {
        let admitted = self.tenants.check_key(&caller.tenant().cloned());
        admitted.map_err(|until| too_many(wait_time(&until)))?;
        let client = context.temporal.client()?;
        let has_place = !query.place.is_empty();
        self.turn().await?;
        let listed = visibility::list(client, query.filter, query.limit.into(), query.place).await;
        let (runs, next_place) = listed.map_err(|status| {
            // The server has no one word for a place that it cannot read.
            if has_place && !temporal::is_away(&status) {
                let detail = "the parameter cursor makes no sense; begin without one";
                return Problem::new(Kind::InvalidParameter, detail);
            }
            temporal::problem(&status)
        })?;
        let mut runs: Vec<_> = runs.into_iter().filter_map(Found::of).collect();
        let retried = runs.iter().filter(|found| found.may_be_retried());
        let retried: Vec<_> = retried.map(|found| found.job_id.clone()).collect();
        let latest = if retried.is_empty() {
            HashMap::new()
        } else {
            self.turn().await?;
            let latest = visibility::latest_runs(client, &retried).await;
            latest.map_err(|status| temporal::problem(&status))?
        };
        runs.retain(|found| {
            let run = latest.get(&found.job_id);
            run.is_none_or(|run| *run == found.run_id)
        });
        Ok(Arc::new(Listed { runs, next_place }))
    }

    /// Waits until lists may ask one question more.
    async fn turn(&self) -> Result<(), Problem> {
        let turn = tokio::time::timeout(TURN, self.all.until_ready()).await;
        turn.map_err(|_| too_many(1))
    }
}

fn too_many(seconds: u32) -> Problem {
    Problem::new(Kind::RateLimited, "too many lists are asked for").retry_after(seconds)
}
