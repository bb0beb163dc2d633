//! `GET /v1/jobs`: lists jobs from Temporal's visibility store, then those beyond its retention
//! from the index in the object store. Each entry is a summary of the job.
//!
//! - `page`: a page, and the cursor of the next one
//! - `pages`: reads pages, caches them, and limits their rate
//! - `found`: a run on a page; `past`: pages of the index in the object store

mod found;
mod page;
mod pages;
mod past;

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use darkroom_types::{
    request::{Expansion, ListJobs, PageSize},
    resource::{JobPage, JobSummary, SummaryLinks},
    status::JobStatus,
};
use darkroom_workflows::job::JobState;
use futures::{FutureExt, StreamExt, stream};
use poem::{Response, handler, http::StatusCode, web::Data};
use sha2::{Digest, Sha256};

pub(crate) use self::{found::FoundRun, pages::ListPages};
use self::{
    page::{Cursor, ListQuery, ListedJob},
    past::READS_AT_ONCE,
};
use super::list_media::Page;
use crate::{
    access::Caller,
    context::Context,
    json,
    problem::{Kind, Problem, problems},
    query::Query,
    visibility::Filter,
};

const DEFAULT_LIMIT: u8 = 20;

/// Limit of jobs per page with `expand=media`, as each of them is read.
const MAX_EXPANDED: u8 = 50;

/// Bytes of a cursor that identify the filters of its list.
const DIGEST: usize = 8;

problems!(Problems:);

/// List jobs
///
/// Jobs that are under way come first, the newest first; then jobs that have ended, the last one
/// first. A job appears here, and changes, a moment later than when it is read directly. Jobs
/// beyond Temporal's retention come last, from the store, by the day on which they were accepted. A
/// page of these may be short, or empty, although others follow.
#[utoipa::path(
    get, path = "/v1/jobs", operation_id = "listJobs", tag = "Jobs",
    params(ListJobs),
    responses((status = 200, description = "A page of jobs.", body = JobPage), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn list_jobs(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Query(parameters): Query<ListJobs>,
) -> Result<Response, Problem> {
    let limit = parameters.limit.map_or(DEFAULT_LIMIT, PageSize::get);
    let filter = Filter {
        tenant: caller.tenant().cloned(),
        status: parameters.status.map(|status| status.to_string()),
        model: parameters.model.map(|model| model.to_string()),
        created_after: parameters.created_after,
        created_before: parameters.created_before,
    };
    let is_expanded = parameters.expand == Some(Expansion::Media);
    if is_expanded && limit > MAX_EXPANDED {
        let detail =
            format!("the parameter limit: must be at most {MAX_EXPANDED} with expand=media");
        return Err(Problem::new(Kind::InvalidParameter, detail));
    }
    if is_expanded {
        context.list_pages.admit_expansion(&caller)?;
    }
    let cursor = parameters.cursor.as_deref();
    let cursor = cursor.map(|text| read_cursor(text, &filter)).transpose()?;
    let query = ListQuery {
        filter: filter.clone(),
        limit,
        cursor: cursor.unwrap_or_default(),
    };
    let page = context.list_pages.read(context, &caller, query).await?;
    let jobs = page.jobs.iter();
    let jobs = jobs.filter(|job| !context.views.is_deleted(job.job_id()));
    let jobs: Vec<_> = if is_expanded {
        let reads: Vec<_> = jobs.map(|job| expand(context, job).boxed()).collect();
        let expanded = stream::iter(reads).buffered(READS_AT_ONCE);
        let expanded: Vec<_> = expanded.collect().await;
        expanded.into_iter().flatten().collect()
    } else {
        jobs.map(|job| summary(context, job)).collect()
    };
    let next_cursor = page.next.as_ref();
    let answer = JobPage {
        jobs,
        next_cursor: next_cursor
            .map(|cursor| write_cursor(cursor, &filter))
            .transpose()?,
    };
    json::answer(StatusCode::OK, &answer)
}

fn summary(context: &Context, job: &ListedJob) -> JobSummary {
    match job {
        ListedJob::Retained(found) => found.summary(context),
        ListedJob::Past(job) => summarize(context, job),
    }
}

/// Reads a job with its outputs; `None` if it cannot be read. While Temporal or the store does not
/// answer, the job is listed without them.
async fn expand(context: &Context, job: &ListedJob) -> Option<JobSummary> {
    let view;
    let (state, progress) = match job {
        ListedJob::Retained(found) => {
            view = match context.views.recent(context, &found.job_id).await {
                Ok(view) => view,
                Err(problem) => {
                    return match problem.kind() {
                        Kind::TemporalUnavailable | Kind::StorageUnavailable => {
                            Some(found.summary(context))
                        }
                        _ => None,
                    };
                }
            };
            (&view.state, view.progress.as_slice())
        }
        ListedJob::Past(job) => (&**job, [].as_slice()),
    };
    Some(JobSummary {
        prompt: state.request.prompt.clone(),
        media: Some(Page::FIRST.read(context, state, progress).await),
        ..summarize(context, state)
    })
}

fn summarize(context: &Context, job: &JobState) -> JobSummary {
    let this = context.job_url(&job.job_id);
    JobSummary {
        job_id: job.job_id,
        status: match job.status {
            JobStatus::Pending => JobStatus::Processing,
            status => status,
        },
        model: job.request.model.clone(),
        created_at: job.created_at,
        completed_at: job.completed_at,
        prompt: None,
        media: None,
        links: SummaryLinks { this },
    }
}

/// Parses a cursor as text: a digest of the filters of its list, then the cursor as JSON.
fn read_cursor(text: &str, filter: &Filter) -> Result<Cursor, Problem> {
    let invalid = |reason| {
        Problem::new(
            Kind::InvalidParameter,
            format!("the parameter cursor {reason}"),
        )
    };
    let unknown = || invalid("is invalid; begin without one");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let (of, cursor) = bytes.split_first_chunk::<DIGEST>().ok_or_else(unknown)?;
    if *of != digest(filter) {
        return Err(invalid(
            "belongs to a list with other filters; use the same filters",
        ));
    }
    serde_json::from_slice(cursor).map_err(|_| unknown())
}

fn write_cursor(cursor: &Cursor, filter: &Filter) -> Result<String, Problem> {
    let cursor = json::write(cursor)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode([&digest(filter), cursor.as_bytes()].concat()))
}

fn digest(filter: &Filter) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&Sha256::digest(filter.to_query())[..DIGEST]);
    digest
}
