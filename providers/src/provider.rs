//! The [`Provider`] trait, with its inputs, results and errors. A second provider is another
//! implementation of it, beside [`crate::replicate`]. CONTRIBUTING.md lists the other places that
//! name a provider: the worker that builds its client, the queues, and the route of its reports.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use darkroom_workflows::{
    contract::collect::PollReason,
    job::{Doubt, JobId, Prediction, PredictionRef, ProviderName, SubmissionId},
    request::JobRequest,
};
use jiff::SignedDuration;

/// Paid service that accepts a request, works on it for a while, and leaves files to download.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Name of the provider.
    fn name(&self) -> ProviderName;

    /// Time by which the provider's clock is ahead of ours, as of its last answer.
    fn clock_skew(&self) -> Option<SignedDuration>;

    /// Interval before the next poll of a prediction that had not ended at this poll; polls count
    /// from 1.
    fn poll_interval(&self, occasion: PollReason, poll: u32) -> Duration;

    /// Sends a request without any effect, to check that the provider accepts the credentials.
    async fn check(&self) -> Result<(), ProviderError>;

    /// Submits the request. This is the call that costs money: it is sent once, without retries,
    /// over a connection of its own. Nothing that the provider could take for the request is sent
    /// before `gate` opens.
    async fn submit(
        &self,
        submission: &Submission<'_>,
        gate: Arc<dyn Gate>,
    ) -> Result<Prediction, SubmitError>;

    /// Reads the current state of a prediction.
    async fn fetch(&self, prediction: &PredictionRef) -> Result<Prediction, ProviderError>;

    /// Returns the current URL of one output file, found by its name or, if it has none, by its
    /// position: an `https:`, `http:` or `data:` URL. `None` if the file is gone;
    /// [`ProviderError::NotFound`] also if the provider does not show it yet.
    async fn output(
        &self,
        prediction: &PredictionRef,
        position: usize,
        name: Option<&str>,
    ) -> Result<Option<String>, ProviderError>;

    /// Searches for the prediction of a submission in doubt, whose answer is lost.
    async fn find(&self, job_id: &JobId, doubt: &Doubt) -> Result<Search, ProviderError>;

    /// Requests the cancellation of a prediction. Returns its state after the request.
    async fn cancel(&self, prediction: &PredictionRef) -> Result<Prediction, ProviderError>;
}

/// Submission of a job.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// Id of the job.
    pub job_id: &'a JobId,
    /// Id of the submission, among those of the job.
    pub submission_id: &'a SubmissionId,
    /// Request of the caller.
    pub request: &'a JobRequest,
    /// Time after which the provider is to cancel the prediction by itself.
    pub cancel_after: Duration,
}

/// Gate before the paid call: opens once the submission is recorded where a later attempt finds it.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Waits until the request may be sent.
    ///
    /// # Errors
    /// If the request must not be sent.
    async fn open(&self) -> Result<(), GateClosed>;
}

/// Error of a gate that does not open: the submission must not be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the submission was not recorded, so it is not sent")]
pub struct GateClosed;

/// Result of a search for a submission in doubt.
#[derive(Clone, Debug, PartialEq)]
pub enum Search {
    /// Predictions of the submission, the oldest first.
    Found(Vec<Prediction>),
    /// No match in the provider's list, which proves nothing yet.
    NotShown,
    /// The provider cannot list its predictions, or does not show which submission they belong to.
    CannotTell,
}

/// Error of a submission, divided by what is known of the provider's side.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The provider does not have the work: it rejected the request, or the request was never sent.
    #[error(transparent)]
    Refused(ProviderError),
    /// In doubt: the provider itself failed while it answered. If it has the work, its list shows
    /// it soon.
    #[error("{0}")]
    ProviderFailed(ProviderError),
    /// In doubt: the request was sent, and the provider itself did not answer. It may still be
    /// under way.
    #[error("{0}")]
    Unanswered(ProviderError),
}

/// Error of a call to a provider, divided by what the caller can do about it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProviderError {
    /// The provider rejects the request as invalid.
    #[error("the provider rejects the request: {0}")]
    Rejected(String),
    /// The provider rejects our credentials.
    #[error("the provider refuses our credentials: {0}")]
    Unauthorized(String),
    /// The provider requires credit first.
    #[error("the provider requires credit first: {0}")]
    InsufficientCredit(String),
    /// The provider limits the rate of requests.
    #[error("the rate is limited: wait {} s", retry_after.as_secs())]
    RateLimited {
        /// Time to wait before a retry.
        retry_after: Duration,
    },
    /// The provider does not know the prediction.
    #[error("the provider does not know the prediction")]
    NotFound,
    /// The provider cannot be reached, or fails.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// The provider's answer cannot be parsed; a later one may be.
    #[error("the provider's answer cannot be read: {0}")]
    Unreadable(String),
    /// The provider's answer exceeds the size limit, in bytes.
    #[error("the provider's answer is over {0} bytes")]
    TooLarge(usize),
    /// The submission was not recorded, so it was not sent.
    #[error(transparent)]
    GateClosed(#[from] GateClosed),
}
