//! What Darkroom needs of a provider, in the terms in which decisions are made. A second provider goes in as another
//! implementation of [`Provider`], beside [`crate::replicate`]; nothing else knows which one it talks to.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use darkroom_workflows::{
    contract::collect::Occasion,
    job::{Doubt, JobId, PredictionRef, ProviderName, ProviderState, SubmissionId},
    request::JobRequest,
};
use jiff::SignedDuration;

/// A paid service that takes a request, works on it for a while and leaves files to fetch.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Which provider it is.
    fn name(&self) -> ProviderName;

    /// How far its clock is ahead of ours, as its last answer told.
    fn clock_skew(&self) -> Option<SignedDuration>;

    /// How soon to look again at a prediction that had not ended at this look; looks count from 1.
    fn next_look(&self, occasion: Occasion, look: u32) -> Duration;

    /// Asks for nothing, to see whether the provider lets us in.
    async fn check(&self) -> Result<(), ProviderError>;

    /// Asks for the work. This is the call that costs money: it is made once, never repeated within, over a connection that
    /// is made for it. Nothing that could be taken for the request is sent before `gate` has opened.
    async fn submit(
        &self,
        submission: &Submission<'_>,
        gate: Arc<dyn Gate>,
    ) -> Result<Prediction, SubmitError>;

    /// Reads how the work stands.
    async fn fetch(&self, prediction: &PredictionRef) -> Result<Prediction, ProviderError>;

    /// Reads where one of the files is now, as an `https:`, `http:` or `data:` URL. `None` if it is gone.
    async fn output(
        &self,
        prediction: &PredictionRef,
        position: usize,
    ) -> Result<Option<String>, ProviderError>;

    /// Looks for the work of a submission whose answer is lost.
    async fn find(&self, job_id: &JobId, doubt: &Doubt) -> Result<Search, ProviderError>;

    /// Asks for the work to be stopped.
    async fn cancel(&self, prediction: &PredictionRef) -> Result<Canceling, ProviderError>;
}

/// One submission of a job.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The job.
    pub job_id: &'a JobId,
    /// Which of its submissions.
    pub submission_id: &'a SubmissionId,
    /// What the caller asked for.
    pub request: &'a JobRequest,
    /// How long the provider may work before it is to stop by itself.
    pub cancel_after: Duration,
}

/// What stands before the paid call: it opens once the submission is recorded where a successor of ours finds it.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Returns when the request may go out.
    ///
    /// # Errors
    /// If it may not.
    async fn open(&self) -> Result<(), GateClosed>;
}

/// A submission is not to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the submission was not recorded, so it is not sent")]
pub struct GateClosed;

/// The provider's work on a job, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Which it is, how it stands, and what else the provider says of it.
    pub state: ProviderState,
    /// The files that it has made, in order, and those that it withheld.
    pub outputs: Vec<Output>,
    /// Whether the provider has removed the files already.
    pub data_removed: bool,
}

/// A file that a prediction has made, or was to make.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    /// Where in the provider's answer it stands, such as `stems[0].url`; absent where that is its position alone.
    pub name: Option<String>,
    /// Where it can be had.
    pub place: Place,
}

/// Where a file can be had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// At this address.
    Url(String),
    /// In the provider's answer itself: see [`Provider::output`].
    Inline,
    /// Nowhere: the provider has left it out.
    Withheld,
}

/// What a look for a submission found.
#[derive(Clone, Debug, PartialEq)]
pub enum Search {
    /// There it is; of several, the oldest is first.
    Found(Vec<Prediction>),
    /// The provider does not have it: this is proven.
    Absent,
    /// The provider does not show it, which proves nothing yet.
    NotShown,
    /// The provider cannot list its predictions, or they do not tell whose they are.
    CannotTell,
}

/// What a provider did about a request to stop.
#[derive(Clone, Debug, PartialEq)]
pub enum Canceling {
    /// It says how the work stands now.
    Answered(Prediction),
    /// It took the request; how the work stands is to be read.
    Requested,
    /// It cannot stop what it has begun.
    Unsupported,
}

/// Why a submission did not yield a prediction, by what is known of the provider's side.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The provider does not have the work: it said so, or the request was never sent.
    #[error(transparent)]
    Refused(ProviderError),
    /// The provider itself failed while it answered: it may have the work, and will show it soon if so.
    #[error("{0}")]
    ProviderFailed(ProviderError),
    /// The request was sent, and no answer of the provider's own came: it may still be under way.
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
    /// What it says cannot be read, now.
    #[error("the provider's answer cannot be read: {0}")]
    Unreadable(String),
    /// What it says is larger than is ever read.
    #[error("the provider's answer is over {0} bytes")]
    TooLarge(usize),
    /// The submission was not recorded, so it was not sent.
    #[error(transparent)]
    GateClosed(#[from] GateClosed),
}
