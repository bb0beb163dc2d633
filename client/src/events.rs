//! Streams of job states: [server-sent
//! events](https://html.spec.whatwg.org/multipage/server-sent-events.html), resumed over any number
//! of connections.

use std::{pin::Pin, time::Duration};

use darkroom_types::{job_id::JobId, resource::Job};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::de::DeserializeOwned;
use sse_stream::{Sse, SseByteStream};
use url::Url;

use crate::{Client, Error};

/// Backoff before a stream that broke off is resumed.
const BACKOFF: Duration = Duration::from_millis(500);

const EVENT_STREAM: &str = "text/event-stream";

/// Change of the caller's jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Position in the stream: all changes up to this time have been received. The stream can be
    /// resumed from here.
    pub position: Timestamp,
    /// Kind of the change.
    pub what: ChangeKind,
}

/// Kind of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// A job has changed to this state. The same state may come twice.
    Job(Box<Job>),
    /// Changes may have been missed: list the jobs again.
    Reset,
    /// No change, but a later position to resume from.
    Checkpoint,
}

impl Client {
    /// Follows one job, from its current state to its last one; states in between may be skipped.
    /// The stream resumes when a connection breaks off. It ends after the job's end, or after an
    /// error.
    pub fn follow(
        &self,
        job_id: &JobId,
    ) -> impl Stream<Item = Result<Job, Error>> + Send + Unpin + use<> {
        let url = self.url_of(&["v1", "jobs", &job_id.to_string(), "events"]);
        let events = Some(Events::new(self, url, None));
        let states = stream::try_unfold(events, async |events| {
            let Some(mut events) = events else {
                return Ok(None);
            };
            while let Some(event) = events.next().await? {
                if let Some(data) = event.data {
                    let job: Job = events.parse(&data)?;
                    let further = (!job.status.is_terminal()).then_some(events);
                    return Ok(Some((job, further)));
                }
            }
            Ok(None)
        });
        Box::pin(states)
    }

    /// Waits for a job to end, however long it takes, and returns it.
    ///
    /// # Errors
    /// If there is no such job, or if the api cannot be reached within the retry budget.
    pub async fn wait(&self, job_id: &JobId) -> Result<Job, Error> {
        let last = self
            .follow(job_id)
            .try_fold(None, async |_, job| Ok(Some(job)));
        match last.await? {
            Some(job) => Ok(job),
            None => self.get_job(job_id).await,
        }
    }

    /// Follows all jobs of the caller: returns each in its current state whenever it has changed.
    /// The stream begins now, or at an earlier position within the last hour. It ends only after an
    /// error.
    pub fn follow_all(
        &self,
        from: Option<Timestamp>,
    ) -> impl Stream<Item = Result<Change, Error>> + Send + Unpin + use<> {
        let url = self.url_of(&["v1", "events"]);
        let events = Events::new(self, url, from.map(|position| position.to_string()));
        let changes = stream::try_unfold(events, async |mut events| {
            while let Some(event) = events.next().await? {
                let Some(position) = event.id.as_deref().and_then(|id| id.parse().ok()) else {
                    continue;
                };
                let what = match (event.event.as_deref(), &event.data) {
                    (Some("reset"), _) => ChangeKind::Reset,
                    (_, Some(data)) => ChangeKind::Job(events.parse(data)?),
                    (_, None) => ChangeKind::Checkpoint,
                };
                return Ok(Some((Change { position, what }, events)));
            }
            Ok(None)
        });
        Box::pin(changes)
    }
}

type Connection = SseByteStream<Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>>;

/// Events of one stream, over any number of connections.
struct Events {
    client: Client,
    url: Url,
    last_event_id: Option<String>,
    connection: Option<Connection>,
    is_first: bool,
}

impl Events {
    fn new(client: &Client, url: Url, last_event_id: Option<String>) -> Self {
        Self {
            client: client.clone(),
            url,
            last_event_id,
            connection: None,
            is_first: true,
        }
    }

    /// Returns the next event; `None` if the stream has ended.
    async fn next(&mut self) -> Result<Option<Sse>, Error> {
        loop {
            let Some(connection) = &mut self.connection else {
                match self.connect().await? {
                    Some(connection) => self.connection = Some(connection),
                    None => return Ok(None),
                }
                continue;
            };
            match connection.next().await {
                Some(Ok(event)) => {
                    if let Some(id) = &event.id {
                        self.last_event_id = Some(id.clone());
                    }
                    return Ok(Some(event));
                }
                // The connection broke off, or the api drains its connections before it stops.
                Some(Err(_)) | None => self.connection = None,
            }
        }
    }

    async fn connect(&mut self) -> Result<Option<Connection>, Error> {
        if !std::mem::take(&mut self.is_first) {
            tokio::time::sleep(BACKOFF).await;
        }
        let get = self.client.request(Method::GET, self.url.clone());
        let get = get.header(ACCEPT, EVENT_STREAM);
        let get = match &self.last_event_id {
            Some(id) => get.header("Last-Event-ID", id),
            None => get,
        };
        let response = self.client.open(get).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        // Such as the page of a gateway in between, which would end at once and be requested again.
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(|value| value.starts_with(EVENT_STREAM)) {
            return Err(Error::Unexpected {
                url: self.url.clone(),
                status: response.status(),
                what: "the body is not a stream of events".to_owned(),
            });
        }
        Ok(Some(SseByteStream::new(response.bytes_stream().boxed())))
    }

    fn parse<T: DeserializeOwned>(&self, data: &str) -> Result<T, Error> {
        serde_json::from_str(data).map_err(|error| Error::Unexpected {
            url: self.url.clone(),
            status: StatusCode::OK,
            what: error.to_string(),
        })
    }
}
