//! `GET /v1/jobs`: jobs as Temporal's visibility store knows them. Each is a summary; the job itself says the rest.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use darkroom_workflows::{
    job::{JobId, JobStatus},
    request::Model,
    search_attributes::{JOB_STATUS, MODEL},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use poem::Response;
use serde::Serialize;
use sha2::{Digest, Sha256};
use temporalio_client::Client;
use temporalio_common::{
    protos::temporal::api::{
        enums::v1::WorkflowExecutionStatus, workflow::v1::WorkflowExecutionInfo,
    },
    search_attributes::SearchAttributes,
};

use super::parameter::{parse, parse_limit};
use crate::{
    Context,
    access::Caller,
    json,
    openapi::operation::{Content, Operation, Success},
    problem::{Kind, Problem},
    temporal::{
        self,
        visibility::{self, Filter},
    },
};

const DEFAULT_LIMIT: u8 = 20;

/// How many bytes of a cursor say what it is a list of.
const DIGEST: usize = 8;

/// How many jobs of a page are looked at more closely at a time.
const CONCURRENCY: usize = 8;

/// Listing jobs.
pub(super) struct List;

impl Operation for List {
    const SUCCESSES: &'static [Success] = &[Success {
        status: 200,
        description: "Some jobs.",
        content: Content::JobPage,
        headers: &[],
    }];
    const PROBLEMS: &'static [Kind] = &[];
}

/// The query, as it came.
pub(super) struct Parameters {
    pub(super) status: Option<String>,
    pub(super) model: Option<String>,
    pub(super) created_after: Option<String>,
    pub(super) created_before: Option<String>,
    pub(super) limit: Option<String>,
    pub(super) cursor: Option<String>,
}

#[derive(Serialize)]
struct Page {
    jobs: Vec<Summary>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    job_id: JobId,
    status: JobStatus,
    model: String,
    created_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    links: Links,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    this: String,
}

pub(super) async fn list(
    context: &Context,
    caller: &Caller,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let limit = parse("limit", parameters.limit, parse_limit)?.unwrap_or(DEFAULT_LIMIT);
    let filter = Filter {
        tenant: caller.tenant().cloned(),
        status: parse("status", parameters.status, parse_status)?,
        model: parse("model", parameters.model, parse_model)?,
        created_after: parse("created_after", parameters.created_after, parse_time)?,
        created_before: parse("created_before", parameters.created_before, parse_time)?,
    };
    let has_cursor = parameters.cursor.is_some();
    let place = parse("cursor", parameters.cursor, |text| {
        read_cursor(text, &filter)
    })?
    .unwrap_or_default();
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
    let jobs = stream::iter(runs)
        .map(|run| summarize(context, client, run))
        .buffered(CONCURRENCY);
    let jobs: Vec<Option<Summary>> = jobs.try_collect().await?;
    let next_cursor = (!next_place.is_empty()).then(|| write_cursor(&next_place, &filter));
    let page = Page {
        jobs: jobs.into_iter().flatten().collect(),
        next_cursor,
    };
    Ok(Response::builder()
        .content_type("application/json")
        .body(json::write(&page)?))
}

/// A run as a job; `None` if a later run of the job has taken its place.
async fn summarize(
    context: &Context,
    client: &Client,
    run: WorkflowExecutionInfo,
) -> Result<Option<Summary>, Problem> {
    let Some(execution) = &run.execution else {
        return Ok(None);
    };
    let Ok(job_id) = execution.workflow_id.parse::<JobId>() else {
        return Ok(None);
    };
    if context.views.is_deleted(&job_id) {
        return Ok(None);
    }
    let attributes = run
        .search_attributes
        .as_ref()
        .map(SearchAttributes::from_proto)
        .unwrap_or_default();
    let recorded = attributes
        .get(&JOB_STATUS)
        .and_then(|status| serde_json::from_value(status.into()).ok());
    let is_open = run.status() == WorkflowExecutionStatus::Running;
    let status = match recorded {
        Some(status @ (JobStatus::Pending | JobStatus::Processing)) if is_open => status,
        Some(status) if status.is_terminal() => status,
        None if is_open => JobStatus::Processing,
        // It was ended from outside, and could not record how.
        Some(_) | None => JobStatus::Failed,
    };
    // Only these can be taken up again.
    if matches!(status, JobStatus::Partial | JobStatus::Failed)
        && !visibility::is_latest(client, execution)
            .await
            .map_err(|status| temporal::problem(&status))?
    {
        return Ok(None);
    }
    let time = |seconds, nanos| Timestamp::new(seconds, nanos).ok();
    let this = context.url(&format!("/v1/jobs/{job_id}"));
    Ok(Some(Summary {
        job_id,
        status,
        model: attributes.get(&MODEL).unwrap_or_default(),
        created_at: run
            .start_time
            .and_then(|start| time(start.seconds, start.nanos)),
        completed_at: run
            .close_time
            .and_then(|close| time(close.seconds, close.nanos)),
        links: Links { this },
    }))
}

fn parse_status(text: &str) -> Result<String, String> {
    let listed = [
        JobStatus::Processing,
        JobStatus::Completed,
        JobStatus::Partial,
        JobStatus::Failed,
        JobStatus::Canceled,
    ];
    let status = listed
        .iter()
        .map(ToString::to_string)
        .find(|status| status == text);
    status.ok_or_else(|| "must be processing, completed, partial, failed or canceled".to_owned())
}

fn parse_model(text: &str) -> Result<String, String> {
    Model::try_from(text.to_owned())
        .map(|model| model.to_string())
        .map_err(|error| error.to_string())
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "must be a time such as 2026-11-24T10:00:00Z".to_owned())
}

/// Where a list goes on: what it is a list of, and Temporal's own token.
fn read_cursor(text: &str, filter: &Filter) -> Result<Vec<u8>, String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let (of, place) = bytes
        .split_first_chunk::<DIGEST>()
        .ok_or("is none that was given out; begin without one")?;
    if *of != digest(filter) {
        return Err("is one of a list with other filters; keep them as they were".to_owned());
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
