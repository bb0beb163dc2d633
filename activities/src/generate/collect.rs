//! `collect`: reads how a prediction ended. An attempt polls it once, and fails retryably if it has
//! not ended.

use std::time::{Duration, SystemTime};

use darkroom_providers::{Provider, ProviderError};
use darkroom_workflows::{
    contract::collect::{CollectInput, CollectOutcome},
    failure::FailureType,
    job::timestamp,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use temporalio_sdk::activities::ActivityContext;

use super::{is_missing_outputs, retryable_after_purchase};
use crate::failure::Failure;

/// Delay of the next poll after a problem that may pass: the first one, and the longest.
const FIRST_DELAY: Duration = Duration::from_secs(2);
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// A problem of one poll that the next one may not have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Problem {
    NotFound,
    Unreadable,
    WithoutOutputs,
}

impl Problem {
    /// Time after which the problem counts as permanent.
    fn permanent_after(self) -> SignedDuration {
        match self {
            Self::NotFound => SignedDuration::from_secs(60),
            Self::Unreadable => SignedDuration::from_mins(3),
            Self::WithoutOutputs => SignedDuration::from_secs(10),
        }
    }
}

/// State that one poll leaves for the next, in the heartbeat details.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct PollState {
    /// The problem of this poll, and its beginning.
    problem: Option<(Problem, Timestamp)>,
}

impl PollState {
    fn last(ctx: &ActivityContext) -> Self {
        let earlier = ctx.heartbeat_details().deserialize().ok().flatten();
        earlier.unwrap_or_default()
    }

    /// Records the state, which is sent with the failure of this attempt.
    async fn record(self, ctx: &ActivityContext) {
        if let Err(error) = ctx.record_heartbeat(self).await {
            tracing::warn!(%error, "the SDK rejected a heartbeat");
        }
    }
}

/// Clears an earlier problem after a poll without one.
async fn clear_problem(ctx: &ActivityContext) {
    if PollState::last(ctx).problem.is_some() {
        PollState::default().record(ctx).await;
    }
}

/// Reads a prediction.
///
/// # Errors
/// If it has not ended, or cannot be read for now.
pub async fn collect(
    provider: &dyn Provider,
    ctx: &ActivityContext,
    input: &CollectInput,
) -> Result<CollectOutcome, Failure> {
    let (problem, error) = match provider.fetch(&input.prediction).await {
        Ok(prediction) if !prediction.state.status.is_terminal() => {
            clear_problem(ctx).await;
            let poll_interval = provider.poll_interval(input.occasion, ctx.info().attempt);
            let detail = format!("the provider is still at work on {}", input.prediction.id);
            return Err(Failure::retry_after(
                FailureType::PredictionRunning,
                detail,
                poll_interval,
            ));
        }
        Ok(mut prediction) if is_missing_outputs(&prediction) => {
            if has_lasted(ctx, Problem::WithoutOutputs).await {
                prediction.state.outputs_made = Some(0);
                return Ok(CollectOutcome::Ended(prediction));
            }
            let detail = "the prediction succeeded, but its outputs are still missing";
            return Err(Failure::retry_after(
                FailureType::PredictionRunning,
                detail,
                FIRST_DELAY,
            ));
        }
        Ok(prediction) => return Ok(CollectOutcome::Ended(prediction)),
        Err(error @ ProviderError::NotFound) => (Problem::NotFound, error),
        Err(error @ ProviderError::Unreadable(_)) => (Problem::Unreadable, error),
        Err(error @ ProviderError::TooLarge(_)) => return Ok(lost(error)),
        Err(error) => return Err(retryable_after_purchase(error)),
    };
    if has_lasted(ctx, problem).await {
        return Ok(lost(error));
    }
    let soon = FIRST_DELAY
        .saturating_mul(ctx.info().attempt)
        .min(LONGEST_DELAY);
    Err(Failure::Failed {
        error: Failure::from(error).into_error(),
        retry_after: Some(soon),
    })
}

fn lost(error: ProviderError) -> CollectOutcome {
    CollectOutcome::Lost {
        error: Failure::from(error).into_error(),
    }
}

/// Returns true if a problem has lasted too long. Otherwise it is recorded for the next poll.
async fn has_lasted(ctx: &ActivityContext, problem: Problem) -> bool {
    let now = timestamp(SystemTime::now());
    let since = match PollState::last(ctx).problem {
        Some((earlier, since)) if earlier == problem => since,
        _ => now,
    };
    if now.duration_since(since) >= problem.permanent_after() {
        return true;
    }
    let state = PollState {
        problem: Some((problem, since)),
    };
    state.record(ctx).await;
    false
}
