//! Getting hold of the job's one prediction: by submitting it, or by finding what an earlier attempt submitted. All that
//! keeps a job from being paid for twice is here.

use std::{str::FromStr, time::Duration};

use darkroom_workflows::{
    contract::{GenerateCheckpoint, GenerateInput},
    failure::FailureType,
    job::timestamp,
};
use jiff::SignedDuration;
use temporalio_sdk::activities::ActivityContext;

use crate::{
    failure::Failure,
    heartbeat::{Heartbeat, Interruption},
};
use darkroom_providers::provider::{Prediction, Provider, Search, SubmitError};

/// How often to look, a second apart, for what a provider may have taken that failed while it answered.
const LOOKS_IN_DOUBT: u32 = 5;

/// The same where no answer came at all and the request may still be under way.
const LOOKS_AFTER_SILENCE: u32 = 10;

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
        let checkpoint = ctx
            .heartbeat_details()
            .deserialize::<GenerateCheckpoint>()
            .map_err(|error| {
                Failure::new(
                    FailureType::SubmissionUnknown,
                    format!("cannot read the last attempt's record: {error}"),
                )
            })?;
        match checkpoint {
            None if self.is_fresh(ctx) => self.submit().await,
            Some(GenerateCheckpoint::Refused) => self.submit().await,
            Some(GenerateCheckpoint::Submitted { prediction_id, .. }) => self
                .provider
                .fetch(&prediction_id)
                .await
                .map_err(super::watching),
            // A reset has dropped the record, or an earlier run had none.
            None if self.input.is_in_doubt || !self.is_of_first_run(ctx) => {
                self.submit_unless_found().await
            }
            // Nothing was submitted, unless somebody has dropped the record of it in Temporal.
            None => match self.look(1).await? {
                Search::Found(prediction) => Ok(prediction),
                Search::NotShown | Search::CannotTell => self.submit().await,
            },
            Some(GenerateCheckpoint::Doubtful) => self.submit_unless_found().await,
            Some(GenerateCheckpoint::Submitting) => self.recover().await,
        }
    }

    /// Whether nobody can have submitted before: a first attempt, of the run that set out, that was scheduled as soon as it did.
    /// A reset of the activity counts attempts anew, and later; one of the workflow makes another run. Both times are the
    /// server's.
    fn is_fresh(&self, ctx: &ActivityContext) -> bool {
        const AT_ONCE: SignedDuration = SignedDuration::from_secs(2);
        let scheduled = ctx.info().current_attempt_scheduled_time.map(timestamp);
        let is_prompt =
            scheduled.is_some_and(|scheduled| scheduled.duration_since(self.input.since) < AT_ONCE);
        ctx.info().attempt == 1 && is_prompt && self.is_of_first_run(ctx) && !self.input.is_in_doubt
    }

    fn is_of_first_run(&self, ctx: &ActivityContext) -> bool {
        self.input.run_id.is_none() || self.input.run_id == ctx.info().workflow_run_id
    }

    async fn submit_unless_found(&self) -> Result<Prediction, Failure> {
        match self.look(LOOKS_IN_DOUBT).await? {
            Search::Found(prediction) => Ok(prediction),
            Search::NotShown => self.submit().await,
            Search::CannotTell => self.park().await,
        }
    }

    async fn submit(&self) -> Result<Prediction, Failure> {
        self.heartbeat
            .record(&GenerateCheckpoint::Submitting)
            .await?;
        if let Some(interruption) = self.heartbeat.interruption() {
            return self.refused(interruption.into()).await;
        }
        match self
            .provider
            .submit(&self.input.job_id, &self.input.request)
            .await
        {
            Ok(prediction) => self.submitted(prediction).await,
            Err(SubmitError::Refused(error)) => self.refused(error.into()).await,
            Err(SubmitError::Doubtful(error)) => {
                self.heartbeat.record(&GenerateCheckpoint::Doubtful).await?;
                Err(error.into())
            }
            Err(SubmitError::Unanswered(error)) => {
                tracing::warn!(job_id = %self.input.job_id, %error, "no answer to a submission; looking for it");
                self.recover().await
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
        match self
            .heartbeat
            .record(&GenerateCheckpoint::Submitted {
                provider,
                prediction_id,
            })
            .await
        {
            Err(failure) if self.heartbeat.interruption() == Some(Interruption::Superseded) => {
                Err(failure)
            }
            Ok(()) | Err(_) => Ok(prediction),
        }
    }

    /// Looks for a prediction of this job, several times if need be, and makes it ours.
    async fn look(&self, times: u32) -> Result<Search, Failure> {
        const INTERVAL: Duration = Duration::from_secs(1);
        for time in 0..times {
            if time > 0 {
                self.pause(INTERVAL).await?;
            }
            match self
                .provider
                .find(&self.input.job_id, self.input.since)
                .await
                .map_err(super::watching)?
            {
                Search::Found(prediction) => {
                    tracing::info!(job_id = %self.input.job_id, prediction_id = prediction.id, "adopted a prediction");
                    return self.submitted(prediction).await.map(Search::Found);
                }
                Search::NotShown => {}
                Search::CannotTell => return Ok(Search::CannotTell),
            }
        }
        Ok(Search::NotShown)
    }

    /// Looks for a prediction whose submission may still be under way, for long enough that it would have shown.
    async fn recover(&self) -> Result<Prediction, Failure> {
        match self.look(LOOKS_AFTER_SILENCE).await? {
            Search::Found(prediction) => Ok(prediction),
            Search::NotShown | Search::CannotTell => self.park().await,
        }
    }

    /// Nobody can tell whether the provider has the work: what to do then is a matter of policy.
    async fn park(&self) -> Result<Prediction, Failure> {
        match self.policy {
            SubmissionPolicy::Fail => Err(Failure::new(
                FailureType::SubmissionUnknown,
                "a submission was sent, its answer is lost, and the provider shows no prediction for this job; \
                 nothing was submitted again, as that may cost twice",
            )),
            SubmissionPolicy::Resubmit => {
                self.heartbeat.record(&GenerateCheckpoint::Refused).await?;
                Err(Failure::new(
                    FailureType::ProviderUnavailable,
                    "a submission was lost; it will be sent again",
                ))
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
