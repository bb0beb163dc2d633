//! `GET /v1/jobs`: jobs as Temporal's visibility store knows them. Each is a summary; the job itself says the rest.

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use darkroom_workflows::{
    job::{JobId, JobStatus},
    request::Model,
    search_attributes::{JOB_STATUS, MODEL},
};
use jiff::Timestamp;
use poem::Response;
use serde::Serialize;
use sha2::{Digest, Sha256};
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
    let jobs: Vec<_> = jobs.map(|found| found.summary(context)).collect();
    let next_cursor = (!next_place.is_empty()).then(|| write_cursor(&next_place, &filter));
    let page = Page { jobs, next_cursor };
    Ok(Response::builder()
        .content_type("application/json")
        .body(json::write(&page)?))
}

/// A run that was found.
struct Found {
    job_id: JobId,
    run_id: String,
    status: JobStatus,
    model: String,
    created_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl Found {
    /// `None` if it is not of a job.
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
            model: attributes.get(&MODEL).unwrap_or_default(),
            created_at: run
                .start_time
                .and_then(|start| time(start.seconds, start.nanos)),
            completed_at: run
                .close_time
                .and_then(|close| time(close.seconds, close.nanos)),
        })
    }

    /// Whether a later run of its job may have taken its place: only these can be taken up again.
    fn may_be_retried(&self) -> bool {
        matches!(self.status, JobStatus::Partial | JobStatus::Failed)
    }

    fn summary(self, context: &Context) -> Summary {
        let this = context.url(&format!("/v1/jobs/{}", self.job_id));
        Summary {
            job_id: self.job_id,
            status: self.status,
            model: self.model,
            created_at: self.created_at,
            completed_at: self.completed_at,
            links: Links { this },
        }
    }
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
