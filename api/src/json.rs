//! Bodies of JSON. Those of requests are read strictly: declared as JSON, bounded in bytes and time, no unknown fields, and an error that points at
//! the place.

use std::time::Duration;

use bytes::Bytes;
use poem::{Body, Request, RequestBody, error::ReadBodyError};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, Registry},
    types::Type,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::problem::{Kind, Problem};

/// The largest body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A body of JSON whose shape the documentation shows as a `D`.
pub(crate) struct Json<T, D>(pub(crate) T, std::marker::PhantomData<D>);

/// A body of JSON, or no body at all for the default.
pub(crate) struct OptionalJson<T, D>(pub(crate) T, std::marker::PhantomData<D>);

impl<'a, T: DeserializeOwned + Send, D: Type> ApiExtractor<'a> for Json<T, D> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        D::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(request_meta::<D>(true))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(
            parse(&read(request, body).await?)?,
            std::marker::PhantomData,
        ))
    }
}

impl<'a, T: DeserializeOwned + Default + Send, D: Type> ApiExtractor<'a> for OptionalJson<T, D> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        D::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(request_meta::<D>(false))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        // Many clients declare a type, or chunks, and send nothing.
        let bytes = read_bytes(body.take()?, MAX_BODY).await?;
        let value = if bytes.is_empty() {
            T::default()
        } else {
            check_type(request)?;
            parse(&bytes)?
        };
        Ok(Self(value, std::marker::PhantomData))
    }
}

fn request_meta<D: Type>(required: bool) -> MetaRequest {
    let content = vec![MetaMediaType {
        content_type: "application/json",
        schema: D::schema_ref(),
    }];
    MetaRequest {
        description: None,
        content,
        required,
    }
}

/// A body of JSON to answer with.
pub(crate) fn write(body: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(body).map_err(|error| {
        tracing::error!(%error, "cannot write an answer as JSON");
        Problem::internal()
    })
}

async fn read(request: &Request, body: &mut RequestBody) -> poem::Result<Bytes> {
    check_type(request)?;
    Ok(read_bytes(body.take()?, MAX_BODY).await?)
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
                Problem::new(
                    Kind::InvalidRequest,
                    format!("the body is not acceptable at {pointer:?}: {detail}"),
                )
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
