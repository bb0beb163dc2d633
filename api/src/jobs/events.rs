//! `GET /v1/jobs/{id}/events`: the job in each of its states, as server-sent events.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use poem::{
    IntoResponse, Response,
    http::StatusCode,
    web::sse::{Event, SSE},
};

use super::{view::View, watch};
use crate::{
    Context,
    access::Caller,
    openapi::operation::{Content, Operation, Success},
    problem::{Kind, Problem},
};

/// How often a stream shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Following a job.
pub(super) struct Events;

impl Operation for Events {
    const SUCCESSES: &'static [Success] = &[
        Success {
            status: 200,
            description: "The states of the job.",
            content: Content::Events,
            headers: &[],
        },
        Success {
            status: 204,
            description: "The job has ended, and you have its last state.",
            content: Content::None,
            headers: &[],
        },
    ];
    const PROBLEMS: &'static [Kind] = &[
        Kind::NotFound,
        Kind::TooManyFollowers,
        Kind::StorageUnavailable,
    ];
}

/// The states from the present one on, but for the one that the caller has.
pub(super) fn events(
    context: &Arc<Context>,
    caller: &Caller,
    view: Arc<View>,
    last_event_id: Option<&str>,
) -> Result<Response, Problem> {
    let is_known = last_event_id == Some(view.etag.as_str());
    if view.has_ended() && is_known {
        // This also keeps an `EventSource` from coming back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let changes = if view.has_ended() {
        None
    } else {
        Some(changes(context, caller, &view)?)
    };
    let present = stream::iter((!is_known).then_some(view));
    let shutdown = context.shutdown.clone();
    let events = present
        .chain(stream::iter(changes).flatten())
        .map(|view| event(&view))
        .take_until(async move { shutdown.cancelled().await });
    Ok(SSE::new(events)
        .keep_alive(HEARTBEAT)
        .with_header("Cache-Control", "no-store")
        .into_response())
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
    // JSON that serde_json writes has no line breaks, and is UTF-8.
    let job = String::from_utf8_lossy(&view.body).into_owned();
    Event::message(job).event_type("job").id(view.etag.clone())
}
