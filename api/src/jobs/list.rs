//! `GET /v1/jobs`: jobs as Temporal's visibility store knows them. Each is a summary; the job itself says the rest.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use darkroom_types::{
    request::{ListJobs, PageSize},
    resource::JobPage,
};
use poem::{Response, handler, http::StatusCode, web::Data};
use sha2::{Digest, Sha256};

use super::lists::ListQuery;
use crate::{
    access::Caller,
    context::Context,
    json,
    problem::{Kind, Problem, problems},
    query::Query,
    temporal::visibility::Filter,
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
        status: parameters.status.map(|status| status.to_string()),
        model: parameters.model.map(|model| model.to_string()),
        created_after: parameters.created_after,
        created_before: parameters.created_before,
    };
    let cursor = parameters.cursor.as_deref();
    let place = cursor.map(|text| read_cursor(text, &filter)).transpose()?;
    let query = ListQuery {
        filter: filter.to_query(),
        limit,
        place: place.unwrap_or_default(),
    };
    let listed = context.lists.read(context, &caller, query).await?;
    let jobs = listed.runs.iter();
    let jobs = jobs.filter(|found| !context.views.is_deleted(&found.job_id));
    let page = JobPage {
        jobs: jobs.map(|found| found.summary(context)).collect(),
        next_cursor: (!listed.next_place.is_empty())
            .then(|| write_cursor(&listed.next_place, &filter)),
    };
    json::answer(StatusCode::OK, &page)
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
