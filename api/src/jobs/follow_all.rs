//! `GET /v1/events`: all jobs of a tenant as they change, as server-sent events.

use std::sync::Arc;

use bytes::Bytes;
use darkroom_types::resource::FeedEvent;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use poem::{Request, Response, handler, web::Data};

use crate::{
    access::Caller,
    context::Context,
    feed::Follower,
    problem::{Kind, Problem, problems},
    sse::{self, Event},
};

/// Longest gap after which a caller can resume.
const MAX_GAP: SignedDuration = SignedDuration::from_hours(1);

/// Overlap that is sent again on resume, as the end of a job is found a moment after it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);

problems!(Problems: TooManyFollowers);

/// Follow all jobs
///
/// Server-sent events: `event: job` with a job as `data`, in its present state, whenever it is
/// found changed; states in between may be skipped. First come the jobs that are under way, and
/// those that ended since `Last-Event-ID`, or within the last minute. A job may be sent twice; no
/// end is missed. The `id` is a position in time, from which you can resume within an hour. After
/// that, `event: reset` means that you must list the jobs again. A stream that falls behind is
/// ended; resume it from its last `id`.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "followJobs", tag = "Jobs",
    params(
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "The `id` of the last event that you received."),
    ),
    responses(
        (status = 200, description = "The jobs.", body = FeedEvent, content_type = "text/event-stream"),
        Problems,
    ),
    security(("api_key" = [])),
)]
#[handler]
pub(crate) async fn follow_jobs(
    Data(context): Data<&Arc<Context>>,
    caller: Caller,
    request: &Request,
) -> Result<Response, Problem> {
    let now = Timestamp::now();
    let last = request.header("last-event-id").map(str::parse).transpose();
    let last: Option<Timestamp> = last.map_err(|_| {
        let detail = "the header Last-Event-ID is not an id of this stream; omit it to begin";
        Problem::new(Kind::InvalidParameter, detail)
    })?;
    let is_reset = last.is_some_and(|last| now.duration_since(last) > MAX_GAP);
    let since = last.filter(|_| !is_reset).map_or(now, |last| last.min(now));
    let follower = Follower::join(context, &caller, since - OVERLAP).await?;
    let position = {
        let context = Arc::clone(context);
        move || context.feeds.position_since(since).to_string()
    };
    let reset = is_reset.then(|| Event {
        id: position(),
        name: "reset",
        data: Bytes::from_static(b"{}"),
    });
    let jobs = {
        let position = position.clone();
        stream::unfold(follower, async move |mut follower| {
            let view = follower.next().await?;
            Some((view, follower))
        })
        .map(move |view| Event {
            id: position(),
            name: "job",
            data: view.body.clone(),
        })
    };
    let over = {
        let context = Arc::clone(context);
        async move {
            tokio::select! {
                () = context.shutdown.cancelled() => {}
                () = caller.revoked(&context) => {}
            }
        }
    };
    let events = stream::iter(reset).chain(jobs).take_until(over);
    Ok(sse::answer(events, move || Some(position())))
}
