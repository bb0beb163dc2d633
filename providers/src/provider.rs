//! What Darkroom needs of a provider, in the terms in which decisions are made. A second provider goes in as another
//! implementation of [`Provider`], beside [`super::replicate`]; nothing else knows which one it talks to.

use std::time::Duration;

use async_trait::async_trait;
use darkroom_workflows::{
    job::{JobId, PredictionStatus},
    request::JobRequest,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// A paid service that takes a request, works on it for a while and leaves files to fetch.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What the provider is called in the job resource.
    fn name(&self) -> &'static str;

    /// Asks for the work. This is the call that costs money: it is made once, never repeated within.
    async fn submit(&self, job_id: &JobId, request: &JobRequest)
    -> Result<Prediction, SubmitError>;

    /// Reads how the work stands.
    async fn fetch(&self, prediction_id: &str) -> Result<Prediction, ProviderError>;

    /// Looks for work that was asked for on behalf of this job since then.
    async fn find(&self, job_id: &JobId, since: Timestamp) -> Result<Search, ProviderError>;

    /// Asks for the work to be stopped and reads how it stands then.
    async fn cancel(&self, prediction_id: &str) -> Result<Prediction, ProviderError>;
}

/// The provider's work on a job, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The provider's id of it.
    pub id: String,
    /// How it stands.
    pub status: PredictionStatus,
    /// The files that it has made, in order: `https:`, `http:` or `data:` URLs.
    pub outputs: Vec<String>,
    /// The provider's words on a failure.
    pub error: Option<String>,
    /// Whether the provider has removed the files already.
    pub data_removed: bool,
    /// When the provider removes the files.
    pub expires_at: Option<Timestamp>,
    /// What the provider measured.
    pub metrics: Map<String, Value>,
}

/// What a look for a job's prediction found.
#[derive(Clone, Debug, PartialEq)]
pub enum Search {
    /// There it is.
    Found(Prediction),
    /// The provider shows none.
    NotShown,
    /// The provider's predictions do not tell whose they are.
    CannotTell,
}

/// Why a submission did not yield a prediction, by what is known of the provider's side.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The provider does not have the work: it said so, or the request never reached it.
    #[error(transparent)]
    Refused(ProviderError),
    /// The provider failed while it answered: it may have the work, and will show it soon if so.
    #[error("{0}")]
    Doubtful(ProviderError),
    /// The request was sent and no answer came: it may still be under way.
    #[error("{0}")]
    Unanswered(ProviderError),
}

/// Why a provider did not do as asked, by what the caller can do about it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProviderError {
    /// The request itself is at fault.
    #[error("the provider rejects the request: {0}")]
    Rejected(String),
    /// Our credentials are.
    #[error("the provider refuses our credentials: {0}")]
    Unauthorized(String),
    /// Somebody must pay first.
    #[error("the provider wants credit first: {0}")]
    InsufficientCredit(String),
    /// Come back after this long.
    #[error("the provider asks to wait {} s", retry_after.as_secs())]
    RateLimited {
        /// How long.
        retry_after: Duration,
    },
    /// There is no such prediction.
    #[error("the provider knows no such prediction")]
    NotFound,
    /// The provider is at fault or out of reach.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
}
