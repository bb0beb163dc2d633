//! `GET /v1/jobs/{id}/media/{index}/url`: a presigned URL of an output, for a page that cannot
//! follow a redirect with its key.

use std::sync::Arc;

use darkroom_types::{
    job_id::JobId,
    object_key::ObjectKey,
    request::{Disposition, GetMediaUrl},
    resource::MediaUrl,
};
use jiff::Timestamp;
use poem::{
    Response, handler,
    http::{HeaderValue, StatusCode, header},
    web::{Data, Path},
};

use super::{find, get_media::stored};
use crate::{
    access::Caller,
    context::Context,
    json,
    problem::{Problem, problems},
    query::Query,
};

problems!(Problems: NotFound, MediaNotStored, StorageUnavailable);

/// Create a URL of an output
///
/// Returns a presigned URL, to show the output or to save it as a file. Anyone who has the URL can
/// use it, for at least 45 minutes.
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}/media/{index}/url", operation_id = "getMediaUrl", tag = "Jobs",
    params(
        ("job_id" = JobId, Path, description = "The job's id."),
        ("index" = u32, Path, description = "The output's position among those of the job, from 0."),
        GetMediaUrl,
    ),
    responses((status = 200, description = "The URL.", body = MediaUrl), Problems),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn get_media_url(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path((job_id, index)): Path<(String, String)>,
    Query(parameters): Query<GetMediaUrl>,
) -> Result<Response, Problem> {
    let view = find(context, &caller, &job_id).await?;
    let stored = stored(&view.state, &index)?;
    let s3_key = &stored.s3_key;
    let disposition = match parameters.disposition.unwrap_or_default() {
        Disposition::Inline => None,
        Disposition::Attachment => Some(attachment(&view.state.job_id, s3_key)),
    };
    let presigned = &context.presigned;
    let signed = presigned.signed(context, s3_key, stored.completed_at, disposition);
    let signed = signed.await?;
    let expires_at = Timestamp::try_from(signed.expires_at).map_err(|_| Problem::internal())?;
    let url = signed.url;
    let mut answer = json::answer(StatusCode::OK, &MediaUrl { url, expires_at })?;
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(answer)
}

/// Names a file after its job. The last segment of the object's key is the position and the
/// extension of the output, which need no quoting.
fn attachment(job_id: &JobId, s3_key: &ObjectKey) -> String {
    let name = s3_key.as_str().rsplit('/').next().unwrap_or_default();
    format!("attachment; filename=\"{job_id}-{name}\"")
}
