//! Reading of pages: from Temporal's visibility store, and then from `past` for jobs beyond its
//! retention. A server answers few visibility queries a second, for all clients together. So pages
//! are cached for a moment, each tenant has a rate limit, and all lists together leave capacity for
//! the counts of open jobs.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use darkroom_temporal::{
    call::is_unavailable,
    namespace,
    runs::{self, Page},
};
use darkroom_types::{job_id::JobId, tenant::Tenant};
use futures::FutureExt;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use moka::future::Cache;
use temporalio_client::tonic::Code;

use super::{
    found::FoundRun,
    page::{Cursor, LastListed, ListPage, ListQuery, ListedJob},
    past::{self, IndexCursor},
};
use crate::{
    access::{Caller, Processes, wait_time},
    context::Context,
    problem::{Kind, Problem},
    temporal,
    visibility::{self, Filter},
};

/// Time for which a page is cached.
const VALIDITY: Duration = Duration::from_secs(1);

/// Size limit of the cached pages, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Rate limit of a tenant, in pages a second, and its burst after a pause. The same for expanded
/// pages, each of which reads its jobs, cached or not.
const TENANT_RATE: NonZeroU32 = NonZeroU32::new(2).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Rate limit of the visibility queries of all lists, per second: a server answers ten by default,
/// and creates and followers need some of them.
const TOTAL_RATE: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Timeout of waiting for the rate limit of all lists.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for which the retention of the namespace is cached.
const RETENTION: Duration = Duration::from_mins(10);

/// Cache and rate limits of lists.
pub(crate) struct ListPages {
    pages: Cache<ListQuery, Arc<ListPage>>,
    tenants: DefaultKeyedRateLimiter<Option<Tenant>>,
    expansions: DefaultKeyedRateLimiter<Option<Tenant>>,
    all: DefaultDirectRateLimiter,
    retention: Cache<(), SignedDuration>,
}

/// A page of Temporal's visibility store.
struct RetainedPage {
    runs: Vec<FoundRun>,
    token: Vec<u8>,
    /// Last job of the page that has ended.
    last: Option<LastListed>,
}

impl ListPages {
    pub(crate) fn new(processes: Processes) -> Self {
        let weigh =
            |_: &ListQuery, page: &Arc<ListPage>| u32::try_from(page.size()).unwrap_or(u32::MAX);
        let pages = Cache::builder()
            .weigher(weigh)
            .max_capacity(MAX_BYTES)
            .time_to_live(VALIDITY);
        let of_tenant =
            Quota::per_second(processes.share(TENANT_RATE)).allow_burst(processes.share(BURST));
        Self {
            pages: pages.build(),
            tenants: RateLimiter::keyed(of_tenant),
            expansions: RateLimiter::keyed(of_tenant),
            all: RateLimiter::direct(Quota::per_second(processes.share(TOTAL_RATE))),
            retention: Cache::builder().time_to_live(RETENTION).build(),
        }
    }

    /// Returns a page, at most a moment old.
    ///
    /// # Errors
    /// If the tenant exceeds its rate limit, or Temporal does not answer.
    pub(super) async fn read(
        &self,
        context: &Context,
        caller: &Caller,
        query: ListQuery,
    ) -> Result<Arc<ListPage>, Problem> {
        let reading = self.list(context, caller, query.clone()).boxed();
        let page = self.pages.try_get_with(query, reading).await;
        page.map_err(|problem| Problem::clone(&problem))
    }

    /// Returns the open runs of a caller's jobs, and those that have closed since a time.
    ///
    /// # Errors
    /// If the tenant exceeds its rate limit, or Temporal does not answer.
    pub(crate) async fn changed_since(
        &self,
        context: &Context,
        caller: &Caller,
        since: Timestamp,
    ) -> Result<Vec<FoundRun>, Problem> {
        self.admit(caller)?;
        let client = context.temporal.client()?;
        self.acquire().await?;
        let runs = visibility::open_or_closed_since(client, caller.tenant(), since).await;
        let runs = runs.map_err(|status| temporal::problem(&status))?;
        Ok(runs.into_iter().filter_map(FoundRun::of).collect())
    }

    async fn list(
        &self,
        context: &Context,
        caller: &Caller,
        query: ListQuery,
    ) -> Result<Arc<ListPage>, Problem> {
        self.admit(caller)?;
        let ListQuery {
            filter,
            limit,
            cursor,
        } = &query;
        let (jobs, past) = match cursor {
            Cursor::Retained {
                token,
                last: before,
            } => {
                let retained = self.list_retained(context, filter, *limit, token.clone());
                let RetainedPage { runs, token, last } = retained.await?;
                let last = last.or_else(|| before.clone());
                let jobs = runs.into_iter().map(ListedJob::Retained).collect();
                if !token.is_empty() {
                    let next = Some(Cursor::Retained { token, last });
                    return Ok(Arc::new(ListPage { jobs, next }));
                }
                (jobs, self.past(context, filter, last).await)
            }
            Cursor::Past(cursor) => (Vec::new(), cursor.clone()),
        };
        let mut page = ListPage { jobs, next: None };
        let room = usize::from(*limit).saturating_sub(page.jobs.len());
        match past::list(context, filter, past.clone(), room).await {
            Ok((jobs, next)) => {
                let jobs = jobs.into_iter().map(|job| ListedJob::Past(Box::new(job)));
                page.jobs.extend(jobs);
                page.next = next.map(Cursor::Past);
            }
            // Temporal's jobs are listed without the store; the cursor allows a retry for the rest.
            Err(_) if matches!(cursor, Cursor::Retained { .. }) => {
                page.next = Some(Cursor::Past(past));
            }
            Err(problem) => return Err(problem),
        }
        Ok(Arc::new(page))
    }

    /// Returns the cursor of the jobs beyond Temporal's retention, once those within it are
    /// listed.
    ///
    /// They ended before the last job within it. In a list by status or model, that job does not
    /// show how far Temporal reaches back, so the namespace's retention bounds the cursor as well:
    /// Temporal knows every job that ended within it.
    async fn past(
        &self,
        context: &Context,
        filter: &Filter,
        last: Option<LastListed>,
    ) -> IndexCursor {
        let now = Timestamp::now();
        let ended = last.as_ref().map_or(now, |last| last.ended);
        let last = last.map(|last| last.job_id);
        if filter.status.is_none() && filter.model.is_none() {
            return IndexCursor::before(ended, last);
        }
        let retention = async {
            let retention = namespace::retention(context.temporal.client()?).await;
            let retention = retention.map_err(|status| temporal::problem(&status))?;
            let retention = retention.and_then(|time| SignedDuration::try_from(time).ok());
            retention.ok_or_else(temporal::unavailable)
        };
        let retention = self.retention.try_get_with((), retention).await;
        let kept_since = retention.map_or(now, |retention| now - retention);
        IndexCursor::before(ended.min(kept_since), last)
    }

    async fn list_retained(
        &self,
        context: &Context,
        filter: &Filter,
        limit: u8,
        token: Vec<u8>,
    ) -> Result<RetainedPage, Problem> {
        let client = context.temporal.client()?;
        let has_cursor = !token.is_empty();
        self.acquire().await?;
        let listed = runs::list(client, filter.to_query(), limit.into(), token).await;
        let Page {
            runs,
            next_page_token: token,
        } = listed.map_err(|status| {
            // The server has no error code of its own for an invalid page token: with SQL, it is an
            // error of parsing, without a code.
            let may_be_token = matches!(status.code(), Code::InvalidArgument | Code::Unknown);
            if has_cursor && may_be_token && !is_unavailable(&status) {
                let detail = "the parameter cursor makes no sense; begin without one";
                return Problem::new(Kind::InvalidParameter, detail);
            }
            temporal::problem(&status)
        })?;
        let mut runs: Vec<_> = runs.into_iter().filter_map(FoundRun::of).collect();
        let last = runs.iter().rev().find_map(|found| {
            Some(LastListed {
                job_id: found.job_id,
                ended: found.completed_at?,
            })
        });
        let retried = runs.iter().filter(|found| found.may_be_retried());
        let retried: Vec<_> = retried.map(|found| found.job_id).collect();
        let latest = if retried.is_empty() {
            HashMap::new()
        } else {
            self.latest_runs(context, &retried).await?
        };
        runs.retain(|found| {
            let run = latest.get(&found.job_id);
            run.is_none_or(|run| *run == found.run_id)
        });
        Ok(RetainedPage { runs, token, last })
    }

    /// Returns the latest runs of those of some jobs that Temporal knows.
    pub(super) async fn latest_runs(
        &self,
        context: &Context,
        ids: &[JobId],
    ) -> Result<HashMap<JobId, String>, Problem> {
        let client = context.temporal.client()?;
        self.acquire().await?;
        let latest = visibility::latest_runs(client, ids).await;
        latest.map_err(|status| temporal::problem(&status))
    }

    /// Counts a page whose jobs are read one by one, even if the page itself is cached.
    ///
    /// # Errors
    /// If the tenant exceeds its rate limit.
    pub(super) fn admit_expansion(&self, caller: &Caller) -> Result<(), Problem> {
        admit(&self.expansions, caller)
    }

    /// Counts a page.
    fn admit(&self, caller: &Caller) -> Result<(), Problem> {
        admit(&self.tenants, caller)
    }

    /// Waits until the rate limit of all lists admits one more query.
    async fn acquire(&self) -> Result<(), Problem> {
        let admitted = tokio::time::timeout(ACQUIRE_TIMEOUT, self.all.until_ready()).await;
        admitted.map_err(|_| too_many(1))
    }
}

fn admit(
    limiter: &DefaultKeyedRateLimiter<Option<Tenant>>,
    caller: &Caller,
) -> Result<(), Problem> {
    let admitted = limiter.check_key(&caller.tenant().cloned());
    admitted.map_err(|until| too_many(wait_time(&until)))
}

fn too_many(seconds: u32) -> Problem {
    Problem::new(Kind::RateLimited, "too many list requests").retry_after(seconds)
}
