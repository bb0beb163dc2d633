//! JSON bodies. Those of requests are read strictly: declared as JSON, limited in size and time,
//! without unknown fields, and with errors that point at the field.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use poem::{
    Body, FromRequest, Request, RequestBody, Response,
    http::{HeaderValue, StatusCode, header},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::{
    access::{SenderCell, Share, Shares},
    context::Context,
    problem::{Kind, Problem},
};

/// Size limit of a request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Multiple of the size limit up to which a refused body is read and discarded.
const DISCARD_FACTOR: usize = 4;

/// Timeout of receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// JSON body.
pub(crate) struct Json<T>(pub(crate) T);

/// JSON body, or the default if the body is empty.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<'a, T: DeserializeOwned + Send> FromRequest<'a> for Json<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        check_type(request)?;
        let body = read(request, body.take()?, MAX_BODY, bodies_of(request)?).await?;
        Ok(Self(parse(&body.bytes)?))
    }
}

impl<'a, T: DeserializeOwned + Default + Send> FromRequest<'a> for OptionalJson<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        // Many clients declare a content type, or chunked encoding, and send an empty body.
        let body = read(request, body.take()?, MAX_BODY, bodies_of(request)?).await?;
        if body.bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_type(request)?;
        Ok(Self(parse(&body.bytes)?))
    }
}

/// Returns a response with a JSON body.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    Ok(Response::builder()
        .status(status)
        .content_type("application/json")
        .body(write(body)?))
}

/// Returns the same with a secret in it, which must not be cached.
pub(crate) fn answer_secret(
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response, Problem> {
    let mut response = answer(status, body)?;
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// Serializes the body of a response.
pub(crate) fn write(body: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(body).map_err(|error| {
        tracing::error!(%error, "cannot serialize a response");
        Problem::internal()
    })
}

fn check_type(request: &Request) -> Result<(), Problem> {
    if request.content_type().is_some_and(is_json) {
        return Ok(());
    }
    let detail = "send the body with Content-Type: application/json";
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

/// Received body, and its share of the bytes that may be in flight.
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    share: Share,
}

fn bodies_of(request: &Request) -> Result<&Arc<Shares>, Problem> {
    let context = request.data::<Arc<Context>>();
    Ok(&context.ok_or_else(Problem::internal)?.peers.bodies)
}

/// Reads a body of at most this many bytes, without parsing it. Its bytes are a part of these
/// shares.
pub(crate) async fn read(
    request: &Request,
    body: Body,
    most: usize,
    shares: &Arc<Shares>,
) -> Result<Received, Problem> {
    let share = shares.share(SenderCell::of(request).get());
    let read = tokio::time::timeout(BODY_TIMEOUT, collect(body, most, share)).await;
    read.unwrap_or_else(|_| {
        let detail = format!("the body took longer than {BODY_TIMEOUT:?}");
        Err(Problem::new(Kind::RequestTimeout, detail))
    })
}

/// Collects a body. A refused one is read on and discarded for a while: a client that is still
/// sending does not read the response that refuses it.
async fn collect(body: Body, most: usize, share: Share) -> Result<Received, Problem> {
    let mut received = Received {
        bytes: Vec::new(),
        share,
    };
    let mut chunks = body.into_bytes_stream();
    let (mut refusal, mut length) = (None, 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(Kind::Malformed, format!("the body broke off: {error}"))
        })?;
        length += chunk.len();
        if refusal.is_none() {
            refusal = received.take(&chunk, most).err();
        }
        if refusal.is_some() && length > DISCARD_FACTOR * most {
            break;
        }
    }
    refusal.map_or(Ok(received), Err)
}

impl Received {
    fn take(&mut self, chunk: &[u8], most: usize) -> Result<(), Problem> {
        if self.bytes.len() + chunk.len() > most {
            self.bytes = Vec::new();
            return Err(Problem::new(
                Kind::TooLarge,
                format!("a body has at most {most} bytes"),
            ));
        }
        if !self.share.grow(chunk.len()) {
            self.bytes = Vec::new();
            let detail = "too many request bodies are in flight";
            return Err(Problem::new(Kind::RateLimited, detail).retry_after(1));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Serde would accept an array for an object whose fields it lists.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let detail = "must be an object".to_owned();
        return Err(
            Problem::new(Kind::InvalidRequest, "the body must be an object")
                .with_field(String::new(), detail),
        );
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        match error.classify() {
            Category::Data => {
                let detail = with_json_type_names(&without_position(&error));
                Problem::invalid_field(pointer, detail)
            }
            Category::Syntax | Category::Eof | Category::Io => malformed(&error),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::Malformed, format!("the body is not JSON: {error}"))
}

/// Formats a path as a [JSON pointer](https://www.rfc-editor.org/rfc/rfc6901).
fn pointer(path: &Path) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Replaces Serde's words for Rust types by those for JSON types.
fn with_json_type_names(text: &str) -> String {
    text.replace("expected u64", "expected a whole number")
        .replace("a sequence", "an array")
        .replace("a map", "an object")
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position)
        .map(str::to_owned)
        .unwrap_or(text)
}
