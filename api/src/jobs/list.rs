//! `GET /v1/jobs`: jobs as Temporal's visibility store knows them. Each is a summary; the job itself says the rest.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use darkroom_types::{
    job_id::JobId,
    request::{ListJobs, Model, PageSize},
    resource::{JobPage, JobSummary, SummaryLinks},
    status::JobStatus,
};
use darkroom_workflows::search_attributes::{JOB_STATUS, MODEL};
use jiff::Timestamp;
use poem::{Response, handler, http::StatusCode, web::Data};
use sha2::{Digest, Sha256};
use temporalio_common::{
    protos::temporal::api::{
        enums::v1::WorkflowExecutionStatus, workflow::v1::WorkflowExecutionInfo,
    },
    search_attributes::SearchAttributes,
};

use crate::{
    access::Caller,
    context::Context,
    json,
    problem::{Kind, Problem, problems},
    query::Query,
    temporal::{
        self,
        visibility::{self, Filter},
    },
};

const DEFAULT_LIMIT: u8 = 20;

/// How many bytes of a cursor say what it is a list of.
const DIGEST: usize = 8;

problems!(Problems:);

/// List jobs
///
/// The unfinished ones first, the newest of them first; then those that have ended, the last one first. A job shows up here, and
/// changes, a moment later than when it is read by itself.
#[utoipa::path(
    get, path = "/v1/jobs", operation_id = "listJobs", tag = "Jobs",
    params(ListJobs),
    responses((status = 200, description = "Some jobs.", body = JobPage), Problems),
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
        status: parameters.status.map(listed).transpose()?,
        model: parameters.model.map(|model| model.to_string()),
        created_after: parameters.created_after,
        created_before: parameters.created_before,
    };
    let cursor = parameters.cursor.as_deref();
    let place = cursor.map(|text| read_cursor(text, &filter)).transpose()?;
    let (has_cursor, place) = (place.is_some(), place.unwrap_or_default());
    let client = context.temporal.client()?;
    let (runs, next_place) = visibility::list(client, &filter, limit, place)
        .await
        .map_err(|status| {
            // The server has no one word for a place that it cannot read.
            if has_cursor && !temporal::is_away(&status) {
                return Problem::new(
                    Kind::InvalidParameter,
                    "the cursor makes no sense; begin without one",
                );
            }
            temporal::problem(&status)
        })?;
    let found: Vec<_> = runs.into_iter().filter_map(Found::of).collect();
    let retried = found.iter().filter(|found| found.may_be_retried());
    let retried: Vec<_> = retried.map(|found| found.job_id.clone()).collect();
    let latest = match retried.as_slice() {
        [] => HashMap::new(),
        ids => visibility::latest_runs(client, ids)
            .await
            .map_err(|status| temporal::problem(&status))?,
    };
    let jobs = found.into_iter().filter(|found| {
        let is_latest = latest
            .get(&found.job_id)
            .is_none_or(|run| *run == found.run_id);
        is_latest && !context.views.is_deleted(&found.job_id)
    });
    let page = JobPage {
        jobs: jobs.map(|found| found.summary(context)).collect(),
        next_cursor: (!next_place.is_empty()).then(|| write_cursor(&next_place, &filter)),
    };
    json::answer(StatusCode::OK, &page)
}

/// A run that was found.
struct Found {
    job_id: JobId,
    run_id: String,
    status: JobStatus,
    model: Model,
    created_at: Timestamp,
    completed_at: Option<Timestamp>,
}

impl Found {
    /// `None` if it is not of a job that can be read.
    fn of(run: WorkflowExecutionInfo) -> Option<Self> {
        let is_open = run.status() == WorkflowExecutionStatus::Running;
        let execution = run.execution?;
        let attributes = run
            .search_attributes
            .as_ref()
            .map(SearchAttributes::from_proto)
            .unwrap_or_default();
        let recorded = attributes
            .get(&JOB_STATUS)
            .and_then(|status| serde_json::from_value(status.into()).ok());
        let status = match recorded {
            Some(status @ (JobStatus::Pending | JobStatus::Processing)) if is_open => status,
            Some(status) if status.is_terminal() => status,
            None if is_open => JobStatus::Processing,
            // It was ended from outside, and could not record how.
            Some(_) | None => JobStatus::Failed,
        };
        let time = |seconds, nanos| Timestamp::new(seconds, nanos).ok();
        Some(Self {
            job_id: execution.workflow_id.parse().ok()?,
            run_id: execution.run_id,
            status,
            model: attributes.get(&MODEL)?.try_into().ok()?,
            created_at: run
                .start_time
                .and_then(|start| time(start.seconds, start.nanos))?,
            completed_at: run
                .close_time
                .and_then(|close| time(close.seconds, close.nanos)),
        })
    }

    /// Whether a later run of its job may have taken its place: only these can be taken up again.
    fn may_be_retried(&self) -> bool {
        matches!(self.status, JobStatus::Partial | JobStatus::Failed)
    }

    fn summary(self, context: &Context) -> JobSummary {
        let this = context.url(&format!("/v1/jobs/{}", self.job_id));
        JobSummary {
            job_id: self.job_id,
            status: self.status,
            model: self.model,
            created_at: self.created_at,
            completed_at: self.completed_at,
            links: SummaryLinks { this },
        }
    }
}

/// The status as Temporal lists it: it knows of jobs that wait no more than that they have not ended.
fn listed(status: JobStatus) -> Result<String, Problem> {
    match status {
        JobStatus::Pending => Err(Problem::new(
            Kind::InvalidParameter,
            "the parameter status: jobs that are pending are listed as processing",
        )),
        status => Ok(status.to_string()),
    }
}

/// Where a list goes on: what it is a list of, and Temporal's own token.
fn read_cursor(text: &str, filter: &Filter) -> Result<Vec<u8>, Problem> {
    let invalid = |reason| {
        Problem::new(
            Kind::InvalidParameter,
            format!("the parameter cursor {reason}"),
        )
    };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let (of, place) = bytes
        .split_first_chunk::<DIGEST>()
        .ok_or_else(|| invalid("is none that was given out; begin without one"))?;
    if *of != digest(filter) {
        return Err(invalid(
            "is one of a list with other filters; keep them as they were",
        ));
    }
    Ok(place.to_vec())
}

fn write_cursor(place: &[u8], filter: &Filter) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([&digest(filter), place].concat())
}

fn digest(filter: &Filter) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&Sha256::digest(filter.to_query())[..DIGEST]);
    digest
}
