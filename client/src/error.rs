//! What may come of a call, cut by what a caller does next.

use std::{io, path::PathBuf, time::Duration};

use darkroom_types::problem::{Kind, Problem};
use reqwest::{StatusCode, Url};

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The api refuses, and says why. To send the same again later may help if it names a time.
    #[error("{}", problem.detail)]
    Refused {
        /// What it says.
        problem: Box<Problem>,
        /// After how long to try again.
        retry_after: Option<Duration>,
    },
    /// The client cannot be made of what it is given.
    #[error("{0}")]
    Configuration(String),
    /// The api cannot be reached, or did not answer in time. Whether it has got the request is not
    /// known.
    #[error("cannot reach {url}")]
    Unreachable {
        /// Where it was looked for.
        url: Url,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// Something answers that is no api of this version.
    #[error("{url} answers {status}, and not as Darkroom does: {what}")]
    Unexpected {
        /// What was asked for.
        url: Url,
        /// The status of the answer.
        status: StatusCode,
        /// What is wrong with it.
        what: String,
    },
    /// The store does not hand an output over.
    #[error("the store does not hand output {index} over: {what}")]
    NotDownloaded {
        /// Which output.
        index: u32,
        /// What happened.
        what: String,
    },
    /// What came is not what the job says it is.
    #[error("output {index} is not what the job says it is: {what}")]
    Corrupt {
        /// Which output.
        index: u32,
        /// How it differs.
        what: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Which kind of problem the api has with the call, if it is that.
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
