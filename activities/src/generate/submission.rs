//! Getting hold of the job's one prediction: by submitting it, or by finding what an earlier attempt submitted. All that
//! keeps a job from being paid for twice is here.

use std::{str::FromStr, time::Duration};

use darkroom_workflows::{
    activities::{GenerateCheckpoint, GenerateInput},
    failure::FailureType,
    job::timestamp,
};
use jiff::Timestamp;
use temporalio_sdk::activities::ActivityContext;

use super::provider::{Prediction, Provider, SubmitError};
use crate::{
    failure::Failure,
    heartbeat::{Heartbeat, Interruption},
};

/// What to do when a submission was sent, its answer is lost and the provider does not show the prediction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubmissionPolicy {
    /// End the job: a person decides whether to pay again.
    Fail,
    /// Submit once more, and perhaps pay twice.
    Resubmit,
}

impl FromStr for SubmissionPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fail" => Ok(Self::Fail),
            "resubmit" => Ok(Self::Resubmit),
            _ => Err("must be fail or resubmit"),
        }
    }
}

/// One attempt to get hold of the prediction.
pub(super) struct Submission<'a> {
    pub(super) provider: &'a dyn Provider,
    pub(super) policy: SubmissionPolicy,
    pub(super) heartbeat: &'a Heartbeat,
    pub(super) input: &'a GenerateInput,
}

impl Submission<'_> {
    /// Gets hold of the prediction by whatever the last attempt left.
    pub(super) async fn obtain(&self, ctx: &ActivityContext) -> Result<Prediction, Failure> {
        let checkpoint = ctx.heartbeat_details().deserialize::<GenerateCheckpoint>().map_err(|error| {
            Failure::new(FailureType::SubmissionUnknown, format!("cannot read the last attempt's record: {error}"))
        })?;
        let since = ctx.info().scheduled_time.map(timestamp).unwrap_or_default();
        match checkpoint {
            None if ctx.info().attempt == 1 => self.submit(since).await,
            Some(GenerateCheckpoint::Refused) => self.submit(since).await,
            Some(GenerateCheckpoint::Submitted { prediction_id, .. }) => {
                Ok(self.provider.fetch(&prediction_id).await?)
            }
            // An earlier attempt that left nothing never came to submit, or somebody dropped its record in Temporal.
            None | Some(GenerateCheckpoint::Doubtful) => match self.adopt(since).await? {
                Some(prediction) => Ok(prediction),
                None => self.submit(since).await,
            },
            Some(GenerateCheckpoint::Submitting) => self.recover(since).await,
        }
    }

    async fn submit(&self, since: Timestamp) -> Result<Prediction, Failure> {
        self.heartbeat.record(&GenerateCheckpoint::Submitting).await?;
        if let Some(interruption) = self.heartbeat.interruption() {
            return self.refused(interruption.into()).await;
        }
        match self.provider.submit(&self.input.job_id, &self.input.request).await {
            Ok(prediction) => self.submitted(prediction).await,
            Err(SubmitError::Refused(error)) => self.refused(error.into()).await,
            Err(SubmitError::Doubtful(error)) => match self.provider.find(&self.input.job_id, since).await {
                Ok(Some(prediction)) => self.submitted(prediction).await,
                Ok(None) => self.refused(error.into()).await,
                Err(_) => {
                    self.heartbeat.record(&GenerateCheckpoint::Doubtful).await?;
                    Err(error.into())
                }
            },
            Err(SubmitError::Unanswered(error)) => {
                tracing::warn!(job_id = %self.input.job_id, %error, "no answer to a submission; looking for it");
                self.recover(since).await
            }
        }
    }

    /// Records that nothing was bought, so that the next attempt may submit.
    async fn refused(&self, failure: Failure) -> Result<Prediction, Failure> {
        self.heartbeat.record(&GenerateCheckpoint::Refused).await?;
        Err(failure)
    }

    /// Records what was bought before anything else is done with it. If Temporal is away, the work goes on: later
    /// heartbeats carry the same record.
    async fn submitted(&self, prediction: Prediction) -> Result<Prediction, Failure> {
        let (provider, prediction_id) = (self.provider.name().to_owned(), prediction.id.clone());
        match self.heartbeat.record(&GenerateCheckpoint::Submitted { provider, prediction_id }).await {
            Err(failure) if self.heartbeat.interruption() == Some(Interruption::Superseded) => Err(failure),
            Ok(()) | Err(_) => Ok(prediction),
        }
    }

    async fn adopt(&self, since: Timestamp) -> Result<Option<Prediction>, Failure> {
        match self.provider.find(&self.input.job_id, since).await? {
            Some(prediction) => {
                tracing::info!(job_id = %self.input.job_id, prediction_id = prediction.id, "adopted a prediction");
                self.submitted(prediction).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Looks for a prediction whose submission may still be under way, for long enough that it would have shown.
    async fn recover(&self, since: Timestamp) -> Result<Prediction, Failure> {
        const LOOKS: u32 = 10;
        const INTERVAL: Duration = Duration::from_secs(1);
        for look in 0..LOOKS {
            if look > 0 {
                self.pause(INTERVAL).await?;
            }
            if let Some(prediction) = self.adopt(since).await? {
                return Ok(prediction);
            }
        }
        match self.policy {
            SubmissionPolicy::Fail => Err(Failure::new(
                FailureType::SubmissionUnknown,
                "a submission was sent, its answer is lost, and the provider shows no prediction for this job; \
                 nothing was submitted again, as that may cost twice",
            )),
            SubmissionPolicy::Resubmit => {
                self.heartbeat.record(&GenerateCheckpoint::Refused).await?;
                Err(Failure::new(FailureType::ProviderUnavailable, "a submission was lost; it will be sent again"))
            }
        }
    }

    async fn pause(&self, interval: Duration) -> Result<(), Failure> {
        tokio::select! {
            () = tokio::time::sleep(interval) => Ok(()),
            interruption = self.heartbeat.interrupted() => match interruption {
                // Whether there is a prediction to cancel is just what is being found out.
                Interruption::CancelRequested => { tokio::time::sleep(interval).await; Ok(()) }
                interruption => Err(interruption.into()),
            },
        }
    }
}
