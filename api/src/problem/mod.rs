//! Errors over HTTP: `application/problem+json` as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) has it. Every error
//! leaves through here, so that callers see one shape.

mod kind;

use poem::{
    IntoResponse, Response,
    error::{CorsError, ResponseError},
    http::StatusCode,
};
use poem_openapi::error::{ParseParamError, ParsePathError};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::kind::Kind;

/// A problem and what a caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    kind: Kind,
    detail: String,
    instance: Option<String>,
    request_id: Option<String>,
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
        Self {
            kind,
            detail: detail.into(),
            instance: None,
            request_id: None,
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A fault of ours, of which a caller learns nothing more; the log has it.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            Kind::Internal,
            "the request failed for a reason that is not yours; the log has the particulars",
        )
    }

    /// The store does not answer.
    pub(crate) fn storage_unavailable() -> Self {
        let detail = "the store cannot be read; try again";
        Self::new(Kind::StorageUnavailable, detail).retry_after(2)
    }

    /// No such thing.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}"))
    }

    /// A page of an origin that may not call.
    #[must_use]
    pub fn origin_not_allowed() -> Self {
        Self::new(
            Kind::OriginNotAllowed,
            "the operator has not named the origin of this page (DARKROOM_CORS_ORIGINS)",
        )
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

    /// The id of the request that met it.
    #[must_use]
    pub fn of_request(mut self, id: &str) -> Self {
        self.request_id = Some(id.to_owned());
        self
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": self.kind.uri(),
            "title": self.kind.title(),
            "status": self.kind.status().as_u16(),
            "detail": self.detail,
        });
        if let Some(instance) = &self.instance {
            body["instance"] = instance.as_str().into();
        }
        if let Some(request_id) = &self.request_id {
            body["request_id"] = request_id.as_str().into();
        }
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        body
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.kind.status()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let response = Response::builder()
            .status(self.status())
            .content_type("application/problem+json");
        let response = match self.retry_after {
            Some(seconds) => response.header("Retry-After", seconds),
            None => response,
        };
        let response = match self.kind {
            Kind::Unauthenticated => response.header("WWW-Authenticate", "Bearer"),
            _ => response,
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
            Err(error) if error.is::<CorsError>() => Self::origin_not_allowed(),
            Err(error) if error.is::<ParsePathError>() => Self::not_found("path"),
            Err(error) if error.is::<ParseParamError>() => {
                Self::new(Kind::InvalidParameter, error.to_string())
            }
            Err(error) if status.is_client_error() => Self::new(Kind::Malformed, error.to_string()),
            Err(error) => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
        }
    }
}
