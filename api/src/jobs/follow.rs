//! `GET /v1/jobs/{id}/events`: the states of a job, as
//! [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).

use std::sync::Arc;

use darkroom_types::{job_id::JobId, resource::JobEvent, status::JobStatus};
use futures::{Stream, StreamExt, stream};
use poem::{
    IntoResponse, Request, Response, handler,
    http::StatusCode,
    web::{Data, Path},
};

use super::{find, find_current, view::View};
use crate::{
    access::Caller,
    context::Context,
    problem::{Problem, problems},
    sse::{self, Event},
    watch,
};

problems!(Problems: NotFound, TooManyFollowers, StorageUnavailable);

/// Follow a job
///
/// Server-sent events: `event: job` with the job as `data`, for its present state and for each
/// later one; the `id` is its `ETag`. All followers of a job receive the same states in the same
/// order. A state that passes between two reads is skipped. The stream ends when the job does. An
/// `EventSource` that was disconnected resumes by itself.
#[utoipa::path(
    get, path = "/v1/jobs/{job_id}/events", operation_id = "followJob", tag = "Jobs",
    params(
        ("job_id" = JobId, Path, description = "The job's id."),
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "The `id` of the last event that you received; it is not repeated."),
    ),
    responses(
        (status = 200, description = "The states of the job.", body = JobEvent, content_type = "text/event-stream"),
        (status = 204, description = "The job has ended, and you have its last state."),
        Problems,
    ),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn follow_job(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    Path(job_id): Path<String>,
    request: &Request,
) -> Result<Response, Problem> {
    let view = find(context, &caller, &job_id).await?;
    // It may have been retried since, through another process.
    let may_go_on = matches!(view.state.status, JobStatus::Partial | JobStatus::Failed);
    let view = if may_go_on {
        find_current(context, &caller, &job_id).await?
    } else {
        view
    };
    events(context, &caller, view, request.header("last-event-id"))
}

/// Streams the states from the present one on, except the one that the caller has.
fn events(
    context: &Arc<Context>,
    caller: &Caller,
    view: Arc<View>,
    last_event_id: Option<&str>,
) -> Result<Response, Problem> {
    let is_known = last_event_id == Some(view.etag.as_str());
    if view.has_ended() && is_known {
        // A `204` also keeps an `EventSource` from reconnecting.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let changes = if view.has_ended() {
        None
    } else {
        Some(changes(context, caller, &view)?)
    };
    let present = stream::iter((!is_known).then_some(view));
    let (context, caller) = (Arc::clone(context), caller.clone());
    let events = present
        .chain(stream::iter(changes).flatten())
        .map(|view| event(&view))
        .take_until(async move {
            tokio::select! {
                () = context.shutdown.cancelled() => {}
                () = caller.revoked(&context) => {}
            }
        });
    Ok(sse::answer(events, || None))
}

fn changes(
    context: &Arc<Context>,
    caller: &Caller,
    view: &Arc<View>,
) -> Result<impl Stream<Item = Arc<View>> + Send + use<>, Problem> {
    let follower = watch::follow(context, caller, view)?;
    Ok(stream::unfold(follower, async |mut follower| {
        follower.next().await.map(|view| (view, follower))
    }))
}

fn event(view: &View) -> Event {
    Event {
        id: view.etag.clone(),
        name: "job",
        data: view.body.clone(),
    }
}
