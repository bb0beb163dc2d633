//! Request bodies, read strictly: declared as JSON, bounded, no unknown fields, and an error that points at the place.

use poem::{FromRequest, Request, RequestBody, error::ReadBodyError};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::problem::{Kind, Problem};

/// The largest body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// A body of JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<'a, T: DeserializeOwned> FromRequest<'a> for Json<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        if !request.content_type().is_some_and(is_json) {
            let detail = "send the body with Content-Type: application/json";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail).into());
        }
        let bytes = body.take()?.into_bytes_limit(MAX_BODY).await.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => {
                Problem::new(Kind::TooLarge, format!("a body has at most {MAX_BODY} bytes"))
            }
            error => Problem::new(Kind::Malformed, format!("the body broke off: {error}")),
        })?;
        Ok(Self(parse(&bytes)?))
    }
}

/// A body of JSON, or no body at all for the default.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<'a, T: DeserializeOwned + Default> FromRequest<'a> for OptionalJson<T> {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let declares_none = request.content_type().is_none() && request.header("transfer-encoding").is_none();
        if declares_none && request.header("content-length").is_none_or(|length| length == "0") {
            return Ok(Self(T::default()));
        }
        Json::from_request(request, body).await.map(|Json(value)| Self(value))
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Serde would take an array for an object whose fields it lists.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let detail = "must be an object".to_owned();
        return Err(Problem::new(Kind::InvalidRequest, "the body must be an object").with_field(String::new(), detail));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        match error.classify() {
            Category::Data => {
                let detail = without_position(&error);
                Problem::new(Kind::InvalidRequest, format!("the body is not acceptable at {pointer:?}: {detail}"))
                    .with_field(pointer, detail)
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

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).map(str::to_owned).unwrap_or(text)
}
