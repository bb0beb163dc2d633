//! Responses that stream
//! [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
//!
//! The data of an event is not copied per follower: all of them are sent the same buffer.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use poem::{Body, Response};
use tokio::time::{Instant, interval_at};

/// Interval between two heartbeats of an idle stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Server-sent event.
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: &'static str,
    /// One line of JSON.
    pub(crate) data: Bytes,
}

impl Event {
    fn write(self) -> [Bytes; 3] {
        let Self { id, name, data } = self;
        let head = format!("id: {id}\nevent: {name}\ndata: ");
        [head.into(), data, Bytes::from_static(b"\n\n")]
    }
}

/// Streams events as they come. While there are none it sends heartbeats with the id that
/// `heartbeat` returns: a caller resumes from that id, and sees no event for it.
pub(crate) fn answer(
    events: impl Stream<Item = Event> + Send + 'static,
    heartbeat: impl Fn() -> Option<String> + Send + 'static,
) -> Response {
    let ticks = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    let parts = stream::unfold(
        (Box::pin(events), ticks, heartbeat),
        async |(mut events, mut ticks, heartbeat)| {
            let parts = tokio::select! {
                event = events.next() => event?.write().to_vec(),
                _ = ticks.tick() => vec![match heartbeat() {
                    Some(id) => format!("id: {id}\n\n").into(),
                    None => Bytes::from_static(b":\n\n"),
                }],
            };
            ticks.reset();
            Some((stream::iter(parts), (events, ticks, heartbeat)))
        },
    );
    let body = parts.flatten().map(Ok::<_, io::Error>);
    Response::builder()
        .content_type("text/event-stream")
        .header("Cache-Control", "no-store")
        // Otherwise nginx holds events back until its buffer is full.
        .header("X-Accel-Buffering", "no")
        .body(Body::from_bytes_stream(body))
}
