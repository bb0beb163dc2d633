//! Errors of a call, divided by what the caller can do next.

use std::{io, path::PathBuf, time::Duration};

use darkroom_types::problem::{Kind, Problem};
use reqwest::{StatusCode, Url};

/// Error of a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The api rejects the request, with a problem document. A retry may help if there is a
    /// `retry_after`.
    #[error("{}", problem.detail)]
    Refused {
        /// Problem document of the response.
        problem: Box<Problem>,
        /// Time to wait before a retry.
        retry_after: Option<Duration>,
    },
    /// The client's configuration is not valid.
    #[error("{0}")]
    Configuration(String),
    /// The api cannot be reached, or did not answer in time. It may have received the request.
    #[error("cannot reach {url}")]
    Unreachable {
        /// URL of the request.
        url: Url,
        /// Cause of the failure.
        #[source]
        source: reqwest::Error,
    },
    /// The response is not one of this version of the api.
    #[error("the answer {status} of {url} is not one of the Darkroom API: {what}")]
    Unexpected {
        /// URL of the request.
        url: Url,
        /// HTTP status of the response.
        status: StatusCode,
        /// Explanation of the mismatch.
        what: String,
    },
    /// The store does not serve an output.
    #[error("the store does not serve output {index}: {what}")]
    NotDownloaded {
        /// Position of the output.
        index: u32,
        /// Cause of the failure.
        what: String,
    },
    /// The downloaded output differs from the job's size or SHA-256.
    #[error("output {index} does not match its job: {what}")]
    Corrupt {
        /// Position of the output.
        index: u32,
        /// Explanation of the mismatch.
        what: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Kind of the api's problem; `None` for all other errors.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Refused { problem, .. } => Some(problem.kind),
            Self::Configuration(_)
            | Self::Unreachable { .. }
            | Self::Unexpected { .. }
            | Self::NotDownloaded { .. }
            | Self::Corrupt { .. }
            | Self::File { .. } => None,
        }
    }
}
