//! Lists of jobs as Temporal's visibility store has them, and then as `past` has those that it has forgotten. It answers few
//! questions a second, for all: a page that was listed a moment ago is not asked for again, each tenant may ask for some, and
//! all of them together leave room for what creates ask.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use darkroom_temporal::{
    call::is_unavailable,
    namespace,
    runs::{self, Page},
};
use darkroom_types::{job_id::JobId, tenant::Tenant};
use darkroom_workflows::job::JobState;
use futures::FutureExt;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use moka::future::Cache;
use serde::{Deserialize, Serialize};

use super::{
    found::Found,
    past::{self, PastPlace},
};
use crate::{
    access::{Caller, Processes, wait_time},
    context::Context,
    problem::{Kind, Problem},
    temporal,
    visibility::{self, Filter},
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

/// How long the retention of the namespace is remembered.
const RETENTION: Duration = Duration::from_mins(10);

/// What a page is asked for by.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ListQuery {
    pub(super) filter: Filter,
    pub(super) limit: u8,
    pub(super) place: Place,
}

/// Where a list goes on.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// Among the jobs that Temporal knows.
    Known {
        /// Its own token; empty for the beginning.
        token: Vec<u8>,
        /// The last of the jobs before it that have ended.
        last: Option<LastKnown>,
    },
    /// Among those that it has forgotten.
    Past(PastPlace),
}

impl Default for Place {
    fn default() -> Self {
        Self::Known {
            token: Vec::new(),
            last: None,
        }
    }
}

/// A job after which those come that ended before it did.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) struct LastKnown {
    job_id: JobId,
    /// When its run closed.
    ended: Timestamp,
}

/// A page.
pub(super) struct Listed {
    pub(super) jobs: Vec<ListedJob>,
    pub(super) next: Option<Place>,
}

/// A job of a page.
pub(super) enum ListedJob {
    /// As Temporal knows it.
    Known(Found),
    /// As it was when it ended.
    Past(Box<JobState>),
}

impl ListedJob {
    pub(super) fn job_id(&self) -> &JobId {
        match self {
            Self::Known(found) => &found.job_id,
            Self::Past(job) => &job.job_id,
        }
    }
}

/// Pages that were listed lately, and how many more may be.
pub(crate) struct Lists {
    pages: Cache<ListQuery, Arc<Listed>>,
    tenants: DefaultKeyedRateLimiter<Option<Tenant>>,
    all: DefaultDirectRateLimiter,
    retention: Cache<(), SignedDuration>,
}

/// A page of what Temporal knows.
struct Known {
    runs: Vec<Found>,
    token: Vec<u8>,
    /// The last one that has ended.
    last: Option<LastKnown>,
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
            retention: Cache::builder().time_to_live(RETENTION).build(),
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
        let listed = self.list(context, caller, query.clone()).boxed();
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
        self.admit(caller)?;
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
        self.admit(caller)?;
        let ListQuery {
            filter,
            limit,
            place,
        } = &query;
        let (jobs, past) = match place {
            Place::Known {
                token,
                last: before,
            } => {
                let known = self.list_known(context, filter, *limit, token.clone());
                let Known { runs, token, last } = known.await?;
                let last = last.or_else(|| before.clone());
                let jobs = runs.into_iter().map(ListedJob::Known).collect();
                if !token.is_empty() {
                    let next = Some(Place::Known { token, last });
                    return Ok(Arc::new(Listed { jobs, next }));
                }
                (jobs, self.past(context, filter, last).await)
            }
            Place::Past(place) => (Vec::new(), place.clone()),
        };
        let mut listed = Listed { jobs, next: None };
        let room = usize::from(*limit).saturating_sub(listed.jobs.len());
        match past::list(context, filter, past.clone(), room).await {
            Ok((jobs, next)) => {
                let jobs = jobs.into_iter().map(|job| ListedJob::Past(Box::new(job)));
                listed.jobs.extend(jobs);
                listed.next = next.map(Place::Past);
            }
            // What Temporal knows is listed without the store, and the rest can be asked for later.
            Err(_) if matches!(place, Place::Known { .. }) => listed.next = Some(Place::Past(past)),
            Err(problem) => return Err(problem),
        }
        Ok(Arc::new(listed))
    }

    /// Where the jobs begin that Temporal has forgotten, when those that it knows are listed.
    ///
    /// They ended before the last of these. Of a list by status or model that may be long ago, and the retention is told
    /// as well: whatever ended within it is known.
    async fn past(&self, context: &Context, filter: &Filter, last: Option<LastKnown>) -> PastPlace {
        let now = Timestamp::now();
        let ended = last.as_ref().map_or(now, |last| last.ended);
        let last = last.map(|last| last.job_id);
        if filter.status.is_none() && filter.model.is_none() {
            return PastPlace::before(ended, last);
        }
        let retention = async {
            let retention = namespace::retention(context.temporal.client()?).await;
            let retention = retention.map_err(|status| temporal::problem(&status))?;
            let retention = retention.and_then(|time| SignedDuration::try_from(time).ok());
            retention.ok_or_else(temporal::away)
        };
        let retention = self.retention.try_get_with((), retention).await;
        let kept_since = retention.map_or(now, |retention| now - retention);
        PastPlace::before(ended.min(kept_since), last)
    }

    async fn list_known(
        &self,
        context: &Context,
        filter: &Filter,
        limit: u8,
        token: Vec<u8>,
    ) -> Result<Known, Problem> {
        let client = context.temporal.client()?;
        let has_place = !token.is_empty();
        self.turn().await?;
        let listed = runs::list(client, filter.to_query(), limit.into(), token).await;
        let Page {
            runs,
            next_page_token: token,
        } = listed.map_err(|status| {
            // The server has no one word for a place that it cannot read.
            if has_place && !is_unavailable(&status) {
                let detail = "the parameter cursor makes no sense; begin without one";
                return Problem::new(Kind::InvalidParameter, detail);
            }
            temporal::problem(&status)
        })?;
        let mut runs: Vec<_> = runs.into_iter().filter_map(Found::of).collect();
        let last = runs.iter().rev().find_map(|found| {
            Some(LastKnown {
                job_id: found.job_id.clone(),
                ended: found.completed_at?,
            })
        });
        let retried = runs.iter().filter(|found| found.may_be_retried());
        let retried: Vec<_> = retried.map(|found| found.job_id.clone()).collect();
        let latest = if retried.is_empty() {
            HashMap::new()
        } else {
            self.latest_runs(context, &retried).await?
        };
        runs.retain(|found| {
            let run = latest.get(&found.job_id);
            run.is_none_or(|run| *run == found.run_id)
        });
        Ok(Known { runs, token, last })
    }

    /// The latest runs of those of some jobs that Temporal knows.
    pub(super) async fn latest_runs(
        &self,
        context: &Context,
        ids: &[JobId],
    ) -> Result<HashMap<JobId, String>, Problem> {
        let client = context.temporal.client()?;
        self.turn().await?;
        let latest = visibility::latest_runs(client, ids).await;
        latest.map_err(|status| temporal::problem(&status))
    }

    /// Counts a page that a caller has listed.
    fn admit(&self, caller: &Caller) -> Result<(), Problem> {
        let admitted = self.tenants.check_key(&caller.tenant().cloned());
        admitted.map_err(|until| too_many(wait_time(&until)))
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
