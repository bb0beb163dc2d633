//! Error responses: `application/problem+json`, as defined by [RFC
//! 9457](https://www.rfc-editor.org/rfc/rfc9457). One table of kinds defines each URI, its status
//! and its title, and generates their documentation.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, SchemaType, Type},
    },
};

use crate::schema::example;

/// Error response: the problem, and what the caller can do about it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("problem.json")))]
pub struct Problem {
    /// Kind of problem: a stable URI.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Title of the kind, the same for every occurrence.
    pub title: String,
    /// HTTP status of the response.
    pub status: u16,
    /// Explanation of this occurrence, with its remedy.
    pub detail: String,
    /// Path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Id of the request, as in the header `X-Request-Id` and in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Errors of single places in the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// Error of one place in the body.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FieldError {
    /// [JSON pointer](https://www.rfc-editor.org/rfc/rfc6901) to the place.
    pub pointer: String,
    /// Explanation of the error.
    pub detail: String,
}

impl Problem {
    /// Problem of this kind, with a detail for the caller.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: detail.into(),
            instance: None,
            request_id: None,
            errors: Vec::new(),
        }
    }
}

macro_rules! kinds {
    ($($kind:ident $status:literal $name:literal $title:literal;)*) => {
        /// Kind of problem. The URI of each kind is stable.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        pub enum Kind {
            $(
                #[doc = $title]
                #[serde(rename = $name)]
                $kind,
            )*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// HTTP status of responses of this kind.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$kind => $status,)* }
            }

            /// URI of the kind.
            #[must_use]
            pub fn uri(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// Title of the kind: a few words, the same for every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }
        }
    };
}

impl PartialSchema for Kind {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .enum_values(Some(Self::ALL.iter().map(|kind| kind.uri())))
            .into()
    }
}

impl ToSchema for Kind {
    fn name() -> Cow<'static, str> {
        "ProblemType".into()
    }
}

kinds! {
    Malformed 400 "urn:darkroom:problem:malformed" "The request cannot be read";
    InvalidParameter 400 "urn:darkroom:problem:invalid-parameter" "A parameter or a header is not acceptable";
    Unauthenticated 401 "urn:darkroom:problem:unauthenticated" "An API key is needed";
    Forbidden 403 "urn:darkroom:problem:forbidden" "The API key does not permit this";
    OriginNotAllowed 403 "urn:darkroom:problem:origin-not-allowed" "Pages of this origin may not call this API";
    NotFound 404 "urn:darkroom:problem:not-found" "There is no such resource";
    MethodNotAllowed 405 "urn:darkroom:problem:method-not-allowed" "The resource does not support the method";
    RequestTimeout 408 "urn:darkroom:problem:request-timeout" "The body did not arrive in time";
    AlreadyEnded 409 "urn:darkroom:problem:already-ended" "The job has ended";
    NotEnded 409 "urn:darkroom:problem:not-ended" "The job has not ended";
    NothingToRetry 409 "urn:darkroom:problem:nothing-to-retry" "There is nothing to retry";
    SourcesExpired 409 "urn:darkroom:problem:sources-expired" "The provider has removed the outputs";
    GenerationNeeded 409 "urn:darkroom:problem:generation-needed" "The outputs must be generated again, which costs money";
    MediaNotStored 409 "urn:darkroom:problem:media-not-stored" "The output is not stored";
    NoWebhook 409 "urn:darkroom:problem:no-webhook" "The job has no webhook to notify of its end";
    TooManyKeys 409 "urn:darkroom:problem:too-many-keys" "There are too many keys";
    Deleted 410 "urn:darkroom:problem:deleted" "The job was deleted";
    TooLarge 413 "urn:darkroom:problem:too-large" "The request is too large";
    UnsupportedMediaType 415 "urn:darkroom:problem:unsupported-media-type" "The body must be JSON";
    InvalidRequest 422 "urn:darkroom:problem:invalid-request" "The request is not acceptable";
    IdempotencyMismatch 422 "urn:darkroom:problem:idempotency-mismatch" "The key was used for another request";
    RateLimited 429 "urn:darkroom:problem:rate-limited" "There were too many requests";
    TooManyOpenJobs 429 "urn:darkroom:problem:too-many-open-jobs" "Too many jobs are open";
    TooManyFollowers 429 "urn:darkroom:problem:too-many-followers" "Too many long polls and event streams are open";
    Internal 500 "urn:darkroom:problem:internal" "Something went wrong on our side";
    TemporalUnavailable 503 "urn:darkroom:problem:temporal-unavailable" "Temporal is unavailable";
    StorageUnavailable 503 "urn:darkroom:problem:storage-unavailable" "The store is unavailable";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_its_uri() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.uri());
            assert!(kind.uri().starts_with("urn:darkroom:problem:"));
        }
    }
}
