//! The routes of the job resource.

mod cancel;
mod create;
mod read;
mod resource;
mod retry;

use std::{sync::Arc, time::Duration};

use darkroom_workflows::job::{JobId, MediaOutcome};
use poem::{
    Response, Route, get, handler,
    http::StatusCode,
    post,
    web::{Data, Path},
};

use self::resource::JobResource;
use crate::{
    Context,
    problem::{Kind, Problem},
};

/// How long a URL that leads to an output is good for.
const PRESIGNED_VALIDITY: Duration = Duration::from_hours(1);

pub(crate) fn routes() -> Route {
    Route::new()
        .at("/", post(create::create))
        .at("/:job_id", get(read_job))
        .at("/:job_id/cancel", post(cancel::cancel))
        .at("/:job_id/retry", post(retry::retry))
        .at("/:job_id/media/:index", get(read_media))
}

#[handler]
async fn read_job(Data(context): Data<&Arc<Context>>, Path(job_id): Path<String>) -> Result<Response, Problem> {
    let snapshot = read::read(context, &parse_id(&job_id)?).await?;
    let ended = snapshot.state.status.is_terminal();
    let resource = JobResource::of(context, snapshot).await?;
    let response = Response::builder().content_type("application/json");
    let response = if ended { response } else { response.header("Retry-After", 1) };
    Ok(response.body(resource.to_json()?))
}

#[handler]
async fn read_media(
    Data(context): Data<&Arc<Context>>,
    Path((job_id, index)): Path<(String, u32)>,
) -> Result<Response, Problem> {
    let snapshot = read::read(context, &parse_id(&job_id)?).await?;
    let media = snapshot.state.media.iter().find(|media| media.index == index);
    let not_stored = |detail: String| Err(Problem::new(Kind::MediaNotStored, detail));
    match media.map(|media| &media.outcome) {
        Some(MediaOutcome::Completed(stored)) => {
            let url = presign(context, &stored.s3_key).await?;
            Ok(Response::builder().status(StatusCode::FOUND).header("Location", url.as_str()).finish())
        }
        Some(MediaOutcome::Pending) => not_stored(format!("output {index} is not stored yet")),
        Some(MediaOutcome::Failed { error, .. }) => not_stored(format!("output {index}: {}", error.detail)),
        Some(MediaOutcome::Canceled) => not_stored(format!("output {index} was canceled")),
        None if snapshot.state.status.is_terminal() => Err(Problem::not_found("output")),
        None => not_stored("the outputs are not made yet".to_owned()),
    }
}

/// A malformed id is the id of no job.
fn parse_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem::not_found("job"))
}

async fn presign(context: &Context, key: &str) -> Result<url::Url, Problem> {
    context.storage.presign(key, PRESIGNED_VALIDITY).await.map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "cannot sign a URL");
        Problem::internal()
    })
}
