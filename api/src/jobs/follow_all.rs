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

/// How far back a caller can go on from.
const MAX_GAP: SignedDuration = SignedDuration::from_hours(1);

/// How much of what a caller has seen is told again, as the end of a job is found a moment after it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);

problems!(Problems: TooManyFollowers);

/// Follow all jobs
///
/// Server-sent events: `event: job` with a job as `data`, in its present state, each time that it is found changed; not every
/// state in between. First come the jobs that are under way, and those that ended since `Last-Event-ID`, or within the last
/// minute. A job may come twice; an end is not missed. The `id` is a position in time, from which you can go on within an hour:
/// after that, `event: reset` says that you have to list the jobs anew. A stream that falls behind is ended, to be gone on with.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "followJobs", tag = "Jobs",
    params(
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "The `id` of the last event that you have."),
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
        let detail = "the header Last-Event-ID is none that was given out; send none to begin";
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
