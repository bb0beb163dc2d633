//! A reader of server-sent events.

use std::time::Duration;

use darkroom_client::types::resource::Job;
use futures::{Stream, StreamExt};
use reqwest::{RequestBuilder, Response, StatusCode};

use crate::support::harness::{DEADLINE, until};

/// An event, or an id without an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) id: String,
    /// `job` or `reset`; empty for an id without an event.
    pub(super) name: String,
    pub(super) job: Option<Job>,
}

/// A stream of events.
pub(super) struct Events {
    chunks: std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

/// Opens a stream. As a caller would, it asks again if Temporal did not answer the api in time.
pub(super) async fn open(request: RequestBuilder) -> Response {
    until("stream of events", async || {
        let response = request.try_clone()?.send().await.unwrap();
        (response.status() != StatusCode::SERVICE_UNAVAILABLE).then_some(response)
    })
    .await
}

impl Events {
    pub(super) fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self {
            chunks: Box::pin(response.bytes_stream()),
            text: String::new(),
        }
    }

    /// The next event; `None` if the stream ends.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.next_within(DEADLINE).await
    }

    /// The next event; `None` if the stream ends. Panics after the deadline.
    pub(super) async fn next_within(&mut self, deadline: Duration) -> Option<Event> {
        let next = async {
            loop {
                while let Some(end) = self.text.find("\n\n") {
                    let block: String = self.text.drain(..end + 2).collect();
                    let event = parse(&block);
                    if event.is_some() {
                        return event;
                    }
                }
                let chunk = self.chunks.next().await?.ok()?;
                self.text += std::str::from_utf8(&chunk).unwrap();
            }
        };
        let next = tokio::time::timeout(deadline, next).await;
        next.unwrap_or_else(|_| panic!("no event within {deadline:?}"))
    }

    /// All events until the stream ends.
    pub(super) async fn all(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let name = field("event").unwrap_or_default();
    let data = field("data").filter(|_| name != "reset");
    Some(Event {
        id: field("id")?.to_owned(),
        name: name.to_owned(),
        job: data.map(|data| serde_json::from_str(data).unwrap()),
    })
}
