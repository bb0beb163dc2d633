//! The kinds of problem: one table, of which the type's URI, its status, its title and the documentation are made.

use poem::http::StatusCode;

macro_rules! kinds {
    ($($kind:ident $status:ident $name:literal $title:literal;)*) => {
        /// A kind of problem. The URI of each is stable.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Kind {
            $(#[doc = $title] $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The status that it is answered with.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }

            /// Its name, the last part of its URI.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What it is, in a few words that are the same each time.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }
        }
    };
}

kinds! {
    Malformed BAD_REQUEST "malformed" "The request cannot be read";
    InvalidParameter BAD_REQUEST "invalid-parameter" "A parameter or a header is not acceptable";
    Unauthenticated UNAUTHORIZED "unauthenticated" "An API key is needed";
    OriginNotAllowed FORBIDDEN "origin-not-allowed" "Pages of this origin may not call";
    NotFound NOT_FOUND "not-found" "There is no such resource";
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed" "The resource does not know the method";
    RequestTimeout REQUEST_TIMEOUT "request-timeout" "The body did not come in time";
    AlreadyEnded CONFLICT "already-ended" "The job has ended";
    NotEnded CONFLICT "not-ended" "The job has not ended";
    NothingToRetry CONFLICT "nothing-to-retry" "There is nothing to retry";
    SourcesExpired CONFLICT "sources-expired" "The provider has removed the outputs";
    GenerationNeeded CONFLICT "generation-needed" "The outputs would have to be made again";
    MediaNotStored CONFLICT "media-not-stored" "The output is not stored";
    NoWebhook CONFLICT "no-webhook" "There is nothing to tell, or nobody to tell it to";
    Deleted GONE "deleted" "The job was deleted";
    TooLarge PAYLOAD_TOO_LARGE "too-large" "The request is too large";
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The body must be JSON";
    InvalidRequest UNPROCESSABLE_ENTITY "invalid-request" "The request is not acceptable";
    IdempotencyMismatch UNPROCESSABLE_ENTITY "idempotency-mismatch" "The key was used for another request";
    RateLimited TOO_MANY_REQUESTS "rate-limited" "There were too many requests";
    TooManyOpenJobs TOO_MANY_REQUESTS "too-many-open-jobs" "Too many jobs are open";
    TooManyFollowers TOO_MANY_REQUESTS "too-many-followers" "Too many callers wait or follow";
    Internal INTERNAL_SERVER_ERROR "internal" "Something went wrong on our side";
    TemporalUnavailable SERVICE_UNAVAILABLE "temporal-unavailable" "Temporal is unavailable";
    StorageUnavailable SERVICE_UNAVAILABLE "storage-unavailable" "The store is unavailable";
}

impl Kind {
    /// Its URI.
    #[must_use]
    pub fn uri(self) -> String {
        format!("urn:darkroom:problem:{}", self.name())
    }
}
