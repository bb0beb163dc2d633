//! Error responses: every error is returned as problem details, so that callers see one shape.

use std::collections::BTreeMap;

pub(crate) use darkroom_types::problem::Kind;
use darkroom_types::problem::{self, FieldError};
use poem::{
    IntoResponse, Response,
    error::{CorsError, ParsePathError, ResponseError},
    http::StatusCode,
};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Described, ResponseBuilder};

use crate::middleware::request_id::RequestId;

/// Problem details, and the value of `Retry-After`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .body.detail)]
pub(crate) struct Problem {
    body: Box<problem::Problem>,
    retry_after: Option<u32>,
}

impl Problem {
    /// Creates a problem of this kind, with a detail for the caller.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            body: Box::new(problem::Problem::new(kind, detail)),
            retry_after: None,
        }
    }

    /// Returns the kind of the problem.
    pub(crate) fn kind(&self) -> Kind {
        self.body.kind
    }

    /// Problem of an internal error. The caller gets no particulars; the log has them.
    pub(crate) fn internal() -> Self {
        Self::new(
            Kind::Internal,
            "the server failed to handle the request; its log has the particulars",
        )
    }

    /// Problem of a store that does not answer.
    pub(crate) fn storage_unavailable() -> Self {
        let detail = "the store cannot be read; try again";
        Self::new(Kind::StorageUnavailable, detail).retry_after(2)
    }

    /// Problem of something that does not exist.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}"))
    }

    /// Problem of a page whose origin may not call.
    pub(crate) fn origin_not_allowed() -> Self {
        Self::new(
            Kind::OriginNotAllowed,
            "pages of this origin may not call, or not with this method or header; the operator can add the origin to DARKROOM_CORS_ORIGINS",
        )
    }

    /// Problem of an invalid field of the body, which a JSON pointer names.
    pub(crate) fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        let said = format!("the body is invalid at {pointer:?}: {detail}");
        Self::new(Kind::InvalidRequest, said).with_field(pointer, detail)
    }

    /// Adds the error of a field of the body.
    pub(crate) fn with_field(mut self, pointer: String, detail: String) -> Self {
        self.body.errors.push(FieldError { pointer, detail });
        self
    }

    /// Sets `Retry-After`, in seconds.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds the path of the request, and its id if it has one already.
    pub(crate) fn of_request(mut self, path: String, id: Option<RequestId>) -> Self {
        self.body.instance = Some(path);
        self.body.request_id = id.map(RequestId::into_string);
        self
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
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
        let response = match self.body.kind {
            Kind::Unauthenticated => response.header("WWW-Authenticate", "Bearer"),
            _ => response,
        };
        // Strings and numbers can always be serialized.
        response.body(serde_json::to_string(&self.body).unwrap_or_default())
    }
}

/// Converts any error of a handler or of the framework.
impl From<poem::Error> for Problem {
    fn from(error: poem::Error) -> Self {
        let status = error.status();
        match error.downcast::<Self>() {
            Ok(problem) => problem,
            Err(_) if status == StatusCode::NOT_FOUND => Self::not_found("path"),
            Err(_) if status == StatusCode::METHOD_NOT_ALLOWED => Self::new(
                Kind::MethodNotAllowed,
                "this path does not support the method",
            ),
            Err(error) if error.is::<CorsError>() => Self::origin_not_allowed(),
            Err(error) if error.is::<ParsePathError>() => Self::not_found("path"),
            Err(error) if status.is_client_error() => Self::new(Kind::Malformed, error.to_string()),
            Err(error) => {
                tracing::error!(%error, "a request failed with an internal error");
                Self::internal()
            }
        }
    }
}

/// Problems of any operation that authenticates its caller.
const COMMON: [Kind; 6] = [
    Kind::InvalidParameter,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::RateLimited,
    Kind::Internal,
    Kind::TemporalUnavailable,
];

/// Describes the problems of an operation, in addition to the common ones.
pub(crate) fn responses(kinds: &[Kind]) -> BTreeMap<String, RefOr<Described>> {
    let mut lines: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for kind in COMMON.iter().chain(kinds) {
        let line = format!("`{}`: {}.", kind.uri(), kind.title());
        lines.entry(kind.status()).or_default().push(line);
    }
    let described = lines.into_iter().map(|(status, lines)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new()
            .description(lines.join("\n\n"))
            .content("application/problem+json", content.build());
        (status.to_string(), response.build().into())
    });
    described.collect()
}

/// Names the problems of an operation, for the `OpenAPI` document.
macro_rules! problems {
    ($name:ident: $($kind:ident),* $(,)?) => {
        struct $name;

        impl ::utoipa::IntoResponses for $name {
            fn responses() -> ::std::collections::BTreeMap<
                String,
                ::utoipa::openapi::RefOr<::utoipa::openapi::Response>,
            > {
                $crate::problem::responses(&[$($crate::problem::Kind::$kind),*])
            }
        }
    };
}

pub(crate) use problems;
