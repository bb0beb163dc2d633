//! Moving outputs into the store: all at the same time, and each for itself.

use std::pin::{Pin, pin};

use futures::{FutureExt, future::FusedFuture};
use jiff::Timestamp;
use temporalio_workflow::{
    ActivityExecutionError, RetryState, WorkflowCancellationToken, WorkflowContext, join_all,
    select,
};

use super::{Ending, MediaGeneration, Stop, stop, update};
use crate::{
    contract::{self, Activities, Generation, OutputSource, PersistInput},
    failure::{FailureType, JobError, read_activity_failure},
    job::{Media, MediaOutcome, MediaStatus, PredictionStatus, ProviderState, Stage, timestamp},
};

/// The outputs that are to be moved.
pub(super) struct Work {
    inputs: Vec<PersistInput>,
    expires_at: Option<Timestamp>,
}

impl Work {
    /// What a generation made, except where an earlier run has stored an output already.
    pub(super) fn of(ctx: &WorkflowContext<MediaGeneration>, generation: Generation) -> Self {
        let Generation {
            provider,
            prediction_id,
            outputs,
            expires_at,
            metrics,
        } = generation;
        let replace = ctx.state(|workflow| workflow.replaces);
        update(ctx, |state| {
            let provider =
                ProviderState::new(provider, prediction_id.clone(), PredictionStatus::Succeeded);
            state.made(
                outputs.len(),
                ProviderState {
                    expires_at,
                    metrics,
                    ..provider
                },
            );
            let job_id = &state.job_id;
            let to_do = state
                .media
                .iter()
                .zip(outputs)
                .filter(|(media, _)| media.status() == MediaStatus::Pending);
            let inputs = to_do
                .map(|(media, source)| PersistInput {
                    job_id: job_id.clone(),
                    prediction_id: prediction_id.clone(),
                    index: media.index,
                    source,
                    replace,
                })
                .collect();
            Self { inputs, expires_at }
        })
    }

    /// What an earlier run left. Its sources were not kept; the prediction still tells them.
    pub(super) fn left(ctx: &WorkflowContext<MediaGeneration>) -> Self {
        ctx.state(|workflow| {
            let state = &workflow.state;
            let provider = state.provider.as_ref();
            let prediction_id = provider
                .map(|provider| provider.prediction_id.clone())
                .unwrap_or_default();
            let pending = state
                .media
                .iter()
                .filter(|media| media.status() == MediaStatus::Pending);
            let inputs = pending.map(|media| PersistInput {
                job_id: state.job_id.clone(),
                prediction_id: prediction_id.clone(),
                index: media.index,
                source: OutputSource::Prediction,
                replace: workflow.replaces,
            });
            Self {
                inputs: inputs.collect(),
                expires_at: provider.and_then(|provider| provider.expires_at),
            }
        })
    }
}

/// Persists all outputs and returns when each has settled: a failure never takes the others with it.
pub(super) async fn persist_all(
    ctx: &WorkflowContext<MediaGeneration>,
    mut stopped: Pin<&mut impl FusedFuture<Output = Stop>>,
    work: Work,
) -> Ending {
    let Work { inputs, expires_at } = work;
    let count = update(ctx, |state| {
        state.stage = Some(Stage::Persisting);
        state.media.len()
    });
    let scope = WorkflowCancellationToken::new();
    let persists = join_all(inputs.into_iter().map(|input| {
        let scope = scope.clone();
        async move {
            let index = input.index;
            let now = ctx.workflow_time().map(timestamp);
            let options = contract::persist_options(&input, count, now, expires_at, scope);
            let outcome = match ctx
                .execute_activity(Activities::persist, input, options)
                .await
            {
                Ok(stored) => MediaOutcome::Completed(stored),
                Err(ActivityExecutionError::Cancelled(_)) => MediaOutcome::Canceled,
                // An attempt failed while the cancellation was on its way to it.
                Err(ActivityExecutionError::Failed(failure))
                    if failure.retry_state() == RetryState::CancelRequested =>
                {
                    MediaOutcome::Canceled
                }
                Err(failure) => {
                    let (error, attempts) = read_activity_failure(&failure);
                    MediaOutcome::Failed { error, attempts }
                }
            };
            update(ctx, |state| {
                if let Some(media) = state.media.iter_mut().find(|media| media.index == index) {
                    media.outcome = outcome;
                }
            });
        }
    }));
    let mut persists = pin!(persists.fuse());
    let stop = select! {
        _ = persists => None,
        stop = stopped => {
            scope.cancel();
            persists.await;
            Some(stop)
        }
    };
    ctx.state(|workflow| judge(&workflow.state.media, stop))
}

fn judge(media: &[Media], stop: Option<Stop>) -> Ending {
    let count = |status| {
        media
            .iter()
            .filter(|media| media.status() == status)
            .count()
    };
    let stored = count(MediaStatus::Completed);
    // What was done in spite of it is done.
    match stop {
        Some(Stop::Canceled) if count(MediaStatus::Canceled) > 0 => return Ending::Canceled,
        Some(Stop::DeadlineExceeded) if stored == 0 => {
            return Ending::Failed(stop::deadline_exceeded());
        }
        Some(Stop::DeadlineExceeded) if stored < media.len() => {
            return Ending::Partial(stop::deadline_exceeded());
        }
        Some(_) | None => {}
    }
    let failed = media.len() - stored;
    if failed == 0 {
        return Ending::Completed;
    }
    let first = media.iter().find_map(|media| match &media.outcome {
        MediaOutcome::Failed { error, .. } => Some(format!(
            "output {}: {}: {}",
            media.index, error.kind, error.detail
        )),
        _ => None,
    });
    let detail = format!(
        "{failed} of {} outputs could not be stored; {}",
        media.len(),
        first.unwrap_or_default()
    );
    let error = JobError::new(FailureType::OutputsFailed, detail);
    if stored == 0 {
        Ending::Failed(error)
    } else {
        Ending::Partial(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::StoredMedia;

    fn media(outcomes: &str) -> Vec<Media> {
        let outcome = |letter| match letter {
            'c' => MediaOutcome::Completed(StoredMedia {
                s3_key: String::new(),
                content_type: String::new(),
                size: 1,
                sha256: String::new(),
                attempts: 1,
                started_at: Timestamp::UNIX_EPOCH,
                completed_at: Timestamp::UNIX_EPOCH,
            }),
            'f' => MediaOutcome::Failed {
                error: JobError::new(FailureType::SourceExpired, "gone"),
                attempts: Some(1),
            },
            _ => MediaOutcome::Canceled,
        };
        outcomes
            .chars()
            .zip(0..)
            .map(|(letter, index)| Media {
                index,
                outcome: outcome(letter),
            })
            .collect()
    }

    #[test]
    fn the_outputs_and_the_stop_make_the_ending() {
        use crate::job::JobStatus::{Canceled, Completed, Failed, Partial};
        for (outcomes, stop, expected) in [
            ("cc", None, Completed),
            ("cf", None, Partial),
            ("ff", None, Failed),
            ("cc", Some(Stop::Canceled), Completed),
            ("cx", Some(Stop::Canceled), Canceled),
            ("xx", Some(Stop::Canceled), Canceled),
            ("cf", Some(Stop::Canceled), Partial),
            ("cc", Some(Stop::DeadlineExceeded), Completed),
            ("cx", Some(Stop::DeadlineExceeded), Partial),
            ("xx", Some(Stop::DeadlineExceeded), Failed),
        ] {
            let (status, error) = judge(&media(outcomes), stop).into_status();
            assert_eq!(status, expected, "{outcomes} {stop:?}");
            assert_eq!(
                error.is_some(),
                matches!(status, Partial | Failed),
                "{outcomes} {stop:?}"
            );
        }
    }
}
