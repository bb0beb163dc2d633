//! Bodies of JSON. Those of requests are read strictly: declared as JSON, bounded in bytes and time, no unknown fields, and
//! an error that points at the place.

use std::time::Duration;

use bytes::Bytes;
use poem::{
    Body, FromRequest, Request, RequestBody, Response,
    error::ReadBodyError,
    http::{HeaderValue, StatusCode, header},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::problem::{Kind, Problem};

/// The largest body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A body of JSON.
pub(crate) struct Json<T>(pub(crate) T);

/// A body of JSON, or no body at all for the default.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<'a, T: DeserializeOwned + Send> FromRequest<'a> for Json<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        check_type(request)?;
        Ok(Self(parse(&read_bytes(body.take()?, MAX_BODY).await?)?))
    }
}

impl<'a, T: DeserializeOwned + Default + Send> FromRequest<'a> for OptionalJson<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        // Many clients declare a type, or chunks, and send nothing.
        let bytes = read_bytes(body.take()?, MAX_BODY).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_type(request)?;
        Ok(Self(parse(&bytes)?))
    }
}

/// Answers with a body of JSON.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    Ok(Response::builder()
        .status(status)
        .content_type("application/json")
        .body(write(body)?))
}

/// The same with what is secret, which nobody is to keep.
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

/// A body of JSON to answer with.
pub(crate) fn write(body: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(body).map_err(|error| {
        tracing::error!(%error, "cannot write an answer as JSON");
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

/// Reads a body of at most this many bytes, whatever it is.
pub(crate) async fn read_bytes(body: Body, most: usize) -> Result<Bytes, Problem> {
    let too_late = || {
        Problem::new(
            Kind::RequestTimeout,
            format!("the body took longer than {BODY_TIMEOUT:?}"),
        )
    };
    let bytes = tokio::time::timeout(BODY_TIMEOUT, body.into_bytes_limit(most))
        .await
        .map_err(|_| too_late())?;
    bytes.map_err(|error| match error {
        ReadBodyError::PayloadTooLarge => {
            Problem::new(Kind::TooLarge, format!("a body has at most {most} bytes"))
        }
        error => Problem::new(Kind::Malformed, format!("the body broke off: {error}")),
    })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Serde would take an array for an object whose fields it lists.
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
                let detail = in_words_of_json(&without_position(&error));
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

/// A [JSON pointer](https://www.rfc-editor.org/rfc/rfc6901).
fn pointer(path: &Path) -> String {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Serde speaks of Rust's types.
fn in_words_of_json(text: &str) -> String {
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
