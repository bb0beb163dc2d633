//! Errors over HTTP: `application/problem+json` as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) has it. Every error
//! leaves through here, so that callers see one shape.

use poem::{IntoResponse, Response, error::ResponseError, http::StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

/// The kinds of problem. The URI of each is stable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The body is not JSON, or the path not what it should be.
    Malformed,
    /// The body is JSON but not a request.
    InvalidRequest,
    /// The body is too large.
    TooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// There is no such thing.
    NotFound,
    /// The method does not go with the path.
    MethodNotAllowed,
    /// The caller is not who may do this.
    Unauthenticated,
    /// The job has ended.
    AlreadyEnded,
    /// The job has not ended.
    NotEnded,
    /// There is nothing to retry.
    NothingToRetry,
    /// The provider has removed the outputs.
    SourcesExpired,
    /// Outputs would have to be made again.
    GenerationNeeded,
    /// The output is not stored, yet or ever.
    MediaNotStored,
    /// Temporal is away.
    TemporalUnavailable,
    /// The store is away.
    StorageUnavailable,
    /// Our fault.
    Internal,
}

impl Kind {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Self::InvalidRequest => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "The request is not acceptable")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such resource"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The resource does not know the method")
            }
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "Who are you?"),
            Self::AlreadyEnded => (StatusCode::CONFLICT, "already-ended", "The job has ended"),
            Self::NotEnded => (StatusCode::CONFLICT, "not-ended", "The job has not ended"),
            Self::NothingToRetry => (StatusCode::CONFLICT, "nothing-to-retry", "There is nothing to retry"),
            Self::SourcesExpired => (StatusCode::CONFLICT, "sources-expired", "The provider has removed the outputs"),
            Self::GenerationNeeded => {
                (StatusCode::CONFLICT, "generation-needed", "The outputs would have to be made again")
            }
            Self::MediaNotStored => (StatusCode::CONFLICT, "media-not-stored", "The output is not stored"),
            Self::TemporalUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporal-unavailable", "Temporal is unavailable")
            }
            Self::StorageUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "storage-unavailable", "The store is unavailable")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side"),
        }
    }
}

/// A problem and what a caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    kind: Kind,
    detail: String,
    instance: Option<String>,
    errors: Vec<FieldError>,
    retry_after: Option<u32>,
}

/// What is wrong with one place in a body.
#[derive(Clone, Debug, Serialize)]
struct FieldError {
    /// A JSON pointer to the place.
    pointer: String,
    /// What is wrong there.
    detail: String,
}

impl Problem {
    /// A problem of this kind, in words for the caller.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), instance: None, errors: Vec::new(), retry_after: None }
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A fault of ours, of which a caller learns nothing more; the log has it.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Kind::Internal, "the request failed for a reason that is not yours; the log has the particulars")
    }

    /// No such thing.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}"))
    }

    /// The problem lies at this place of the body.
    #[must_use]
    pub fn with_field(mut self, pointer: String, detail: String) -> Self {
        self.errors.push(FieldError { pointer, detail });
        self
    }

    /// Try again after this many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The path at which it happened.
    #[must_use]
    pub fn at(mut self, path: String) -> Self {
        self.instance = Some(path);
        self
    }

    fn body(&self) -> Value {
        let (status, name, title) = self.kind.parts();
        let mut body = json!({
            "type": format!("urn:darkroom:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Some(instance) = &self.instance {
            body["instance"] = instance.as_str().into();
        }
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        body
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.kind.parts().0
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let response = Response::builder().status(self.status()).content_type("application/problem+json");
        let response = match self.retry_after {
            Some(seconds) => response.header("Retry-After", seconds),
            None => response,
        };
        response.body(self.body().to_string())
    }
}

/// Whatever a handler or the framework fails with.
impl From<poem::Error> for Problem {
    fn from(error: poem::Error) -> Self {
        let status = error.status();
        match error.downcast::<Self>() {
            Ok(problem) => problem,
            Err(_) if status == StatusCode::NOT_FOUND => Self::not_found("path"),
            Err(_) if status == StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(Kind::MethodNotAllowed, "this path does not know the method")
            }
            Err(error) if status.is_client_error() => Self::new(Kind::Malformed, error.to_string()),
            Err(error) => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
        }
    }
}
