//! Failed requests to the store, classified by what a caller does about them. The whole error
//! chain, with addresses and request ids, goes to the log. The message has only the code, as it may
//! reach callers.

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};

/// Result of a request to the store.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Reason that a request failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StorageError {
    /// Missing object or upload.
    #[error("the store does not have it")]
    NotFound,
    /// The key is taken, and the write was not to replace anything.
    #[error("the key is taken")]
    AlreadyExists,
    /// The store refuses the request, and will do so until an operator changes something.
    #[error("the store refuses: {code}; {}", reason.remedy())]
    Refused {
        /// Kind of refusal.
        reason: Refusal,
        /// Error code of the store, and the status.
        code: String,
    },
    /// The store fails on its side, or does not answer. A retry may succeed.
    #[error("the store failed: {code}")]
    Unavailable {
        /// Error code of the store and the status, or a description.
        code: String,
    },
    /// Timeout: the store did not answer in time.
    #[error("the store was too slow")]
    TooSlow,
    /// The store has something other than it was sent.
    #[error("the store {0}")]
    Corrupt(&'static str),
    /// The key is taken by other content than was to be written.
    #[error("{key} is taken by other content")]
    Conflict {
        /// The key, with the bucket's prefix.
        key: String,
    },
    /// The object has more parts than S3 allows.
    #[error("the output has more than {0} parts")]
    TooManyParts(u64),
}

/// Error codes with a client error status that a retry may not meet: bytes damaged in transit, a
/// stalled connection, credentials that are renewed meanwhile.
const RETRYABLE_CODES: [&str; 7] = [
    "BadDigest",
    "ExpiredToken",
    "IncompleteBody",
    "InvalidDigest",
    "RequestTimeout",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
];

/// Kind of refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The credentials, or their permissions.
    Permission,
    /// The name of the bucket.
    Bucket,
    /// The form of the request, which the store does not support: a header, a method, the form of
    /// the body.
    Request,
}

impl Refusal {
    fn remedy(self) -> &'static str {
        match self {
            Self::Permission => {
                "check the AWS credentials, the bucket's policy and the settings of its encryption"
            }
            Self::Bucket => "check S3_BUCKET and AWS_ENDPOINT_URL_S3",
            Self::Request => "see the table of stores in the README",
        }
    }
}

impl StorageError {
    /// Reads an error of the SDK, and logs its whole chain.
    pub(crate) fn of<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let read = Self::read(error);
        match read {
            Self::NotFound | Self::AlreadyExists => {
                tracing::debug!(operation, error = %DisplayErrorContext(error), "the store refused a request");
            }
            _ => tracing::warn!(operation, error = %DisplayErrorContext(error), "the store failed"),
        }
        read
    }

    fn read<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        let unavailable = |code: &str| Self::Unavailable {
            code: code.to_owned(),
        };
        match error {
            SdkError::TimeoutError(_) => Self::TooSlow,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::TooSlow,
            SdkError::DispatchFailure(_) => unavailable("it cannot be reached"),
            SdkError::ConstructionFailure(_) => unavailable("no request could be made"),
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                Self::answered(service.err().code().unwrap_or_default(), status)
            }
            SdkError::ResponseError(response) => {
                Self::answered("", response.raw().status().as_u16())
            }
            _ => unavailable("it answers what makes no sense"),
        }
    }

    /// Classifies an answer by its error code and status.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    fn answered(code: &str, status: u16) -> Self {
        let named = match code {
            "" => format!("status {status}"),
            code => format!("{code} ({status})"),
        };
        let refused = |reason| Self::Refused {
            reason,
            code: named.clone(),
        };
        let unavailable = Self::Unavailable {
            code: named.clone(),
        };
        match (code, status) {
            ("NoSuchBucket", _) => refused(Refusal::Bucket),
            ("NoSuchKey" | "NoSuchUpload", _) | (_, 404) => Self::NotFound,
            ("PreconditionFailed", _) | (_, 412) => Self::AlreadyExists,
            (code, _) if RETRYABLE_CODES.contains(&code) => unavailable,
            (_, 401 | 403) => refused(Refusal::Permission),
            (_, 408 | 409 | 429) => unavailable,
            (_, 400..=499 | 501) => refused(Refusal::Request),
            _ => unavailable,
        }
    }

    /// Returns the error for a bucket that does not exist.
    pub(crate) fn no_bucket() -> Self {
        Self::Refused {
            reason: Refusal::Bucket,
            code: "NoSuchBucket (404)".to_owned(),
        }
    }

    /// Returns true if the store may not support the form of the request, so that another form may
    /// succeed.
    #[must_use]
    pub fn is_unsupported_request(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                reason: Refusal::Request,
                ..
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_by_code_and_status() {
        let refused = |reason, code: &str| StorageError::Refused {
            reason,
            code: code.to_owned(),
        };
        let unavailable = |code: &str| StorageError::Unavailable {
            code: code.to_owned(),
        };
        for (code, status, expected) in [
            ("NoSuchKey", 404, StorageError::NotFound),
            ("", 404, StorageError::NotFound),
            ("NoSuchUpload", 404, StorageError::NotFound),
            (
                "NoSuchBucket",
                404,
                refused(Refusal::Bucket, "NoSuchBucket (404)"),
            ),
            ("PreconditionFailed", 412, StorageError::AlreadyExists),
            (
                "AccessDenied",
                403,
                refused(Refusal::Permission, "AccessDenied (403)"),
            ),
            (
                "NotImplemented",
                501,
                refused(Refusal::Request, "NotImplemented (501)"),
            ),
            (
                "InvalidArgument",
                400,
                refused(Refusal::Request, "InvalidArgument (400)"),
            ),
            ("BadDigest", 400, unavailable("BadDigest (400)")),
            (
                "ConditionalRequestConflict",
                409,
                unavailable("ConditionalRequestConflict (409)"),
            ),
            ("SlowDown", 503, unavailable("SlowDown (503)")),
            ("", 502, unavailable("status 502")),
        ] {
            assert_eq!(
                StorageError::answered(code, status),
                expected,
                "{code} {status}"
            );
        }
    }
}
