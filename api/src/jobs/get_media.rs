//! `GET /v1/jobs/{id}/media/{index}`: redirects to an output.

use std::sync::Arc;

use darkroom_types::job_id::JobId;
use darkroom_workflows::job::{JobState, MediaOutcome, StoredMedia};
use poem::{
    Response, handler,
    http::{StatusCode, header},
    web::{Data, Path},
};

use super::find;
use crate::{
    access::Caller,
    context::Context,
    problem::{Kind, Problem, problems},
};

problems!(Problems: NotFound, MediaNotStored, StorageUnavailable);

/// Read an output
///
/// Redirects to a presigned URL of the output. Anyone who has the URL can use it, for at least 45
/// minutes.
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}/media/{index}", operation_id = "getMedia", tag = "Jobs",
    params(
        ("job_id" = JobId, Path, description = "The job's id."),
        ("index" = u32, Path, description = "The output's position among those of the job, from 0."),
    ),
    responses(
        (status = 302, description = "The output is at `Location`.", headers(("Location"))),
        Problems,
    ),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn get_media(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path((job_id, index)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let view = find(context, &caller, &job_id).await?;
    let stored = stored(&view.state, &index)?;
    let url = context
        .presigned
        .url(context, &stored.s3_key, stored.completed_at)
        .await?;
    let response = Response::builder()
        .status(StatusCode::FOUND)
        .header(header::LOCATION, url.as_str());
    Ok(response.header(header::CACHE_CONTROL, "no-store").finish())
}

/// Returns the stored output at the position that a path names.
///
/// # Errors
/// If there is no such output, or it is not stored.
pub(super) fn stored<'a>(job: &'a JobState, index: &str) -> Result<&'a StoredMedia, Problem> {
    let no_such = || Problem::not_found("output");
    let index: u32 = index.parse().map_err(|_| no_such())?;
    let media = job.media.iter().find(|media| media.index == index);
    match &media.ok_or_else(no_such)?.outcome {
        MediaOutcome::Completed(stored) => Ok(stored),
        MediaOutcome::Pending => {
            Err(Problem::new(Kind::MediaNotStored, "the output is not stored yet").retry_after(1))
        }
        MediaOutcome::Failed { error, .. } => Err(Problem::new(
            Kind::MediaNotStored,
            format!("the output could not be stored: {}", error.detail),
        )),
        MediaOutcome::Canceled => Err(Problem::new(
            Kind::MediaNotStored,
            "the job was canceled before the output was stored",
        )),
    }
}
