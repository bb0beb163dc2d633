//! Answers that go on: [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
//!
//! What an event carries is not copied for each who follows: all of them are sent the same buffer.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use poem::{Body, Response};
use tokio::time::{Instant, interval_at};

/// How often a stream shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// An event.
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: &'static str,
    /// A line of JSON.
    pub(crate) data: Bytes,
}

impl Event {
    fn write(self) -> [Bytes; 3] {
        let Self { id, name, data } = self;
        let head = format!("id: {id}\nevent: {name}\ndata: ");
        [head.into(), data, Bytes::from_static(b"\n\n")]
    }
}

/// Answers with events as they come, and with the id of `heartbeat` where there are none for a while: a caller goes on from it,
/// and sees no event.
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
        .body(Body::from_bytes_stream(body))
}
