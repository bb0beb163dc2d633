//! What can be told of a job without its workflow: what was asked, what its activities have recorded in the history, and
//! what it waits for. The workflow knows better; this is for when no worker is there to ask it.

use std::collections::HashMap;

use darkroom_workflows::{
    MediaGeneration, MediaGenerationInput,
    contract::{GenerateOutcome, Generation, PersistInput},
    failure::{FailureType, JobError},
    job::{
        JobState, JobStatus, MediaOutcome, MediaStatus, PredictionStatus, ProviderState, Stage,
        timestamp,
    },
};
use futures::StreamExt;
use temporalio_client::{Client, WorkflowExecutionDescription, WorkflowHandle};
use temporalio_common::protos::temporal::api::{
    failure::v1::{Failure, failure::FailureInfo},
    history::v1::{ActivityTaskScheduledEventAttributes, history_event::Attributes},
};

use crate::{
    problem::Problem,
    temporal::{self, history},
};

/// The state of a job as its history tells it.
pub(super) async fn reconstruct(
    handle: &WorkflowHandle<Client, MediaGeneration>,
    description: &WorkflowExecutionDescription,
) -> Result<JobState, Problem> {
    let mut events = history::events(handle);
    let input: MediaGenerationInput = history::input(handle.client(), &mut events).await?;
    let created_at = description.start_time().map(timestamp).unwrap_or_default();
    let state = match input.retry {
        Some(retry) => retry.ended.retried(created_at),
        None => JobState::accepted(input.job_id, input.tenant, input.request, created_at),
    };
    let mut told = Told {
        client: handle.client(),
        state,
        scheduled: HashMap::new(),
    };
    while let Some(event) = events.next().await {
        let event = event.map_err(temporal::interaction_problem)?;
        if let Some(attributes) = event.attributes {
            told.hear(event.event_id, attributes).await?;
        }
    }
    let waits_for = |name: &str| {
        let pending = &description.raw().pending_activities;
        pending.iter().any(|activity| {
            activity
                .activity_type
                .as_ref()
                .is_some_and(|kind| kind.name == name)
        })
    };
    let mut state = told.state;
    let stage = match () {
        () if waits_for("persist") => Some(Stage::Persisting),
        () if waits_for("generate") || waits_for("collect") => Some(Stage::Generating),
        () if waits_for("finalize") => Some(Stage::Finalizing),
        // Everything has settled but the manifest, which is written beside the workflow.
        () if !state.media.is_empty() && state.count(MediaStatus::Pending) == 0 => {
            Some(Stage::Finalizing)
        }
        () => None,
    };
    if let Some(stage) = stage {
        state.status = JobStatus::Processing;
        state.stage = Some(stage);
    }
    Ok(state)
}

/// What was told so far.
struct Told<'a> {
    client: &'a Client,
    state: JobState,
    /// The activities that are under way, by the event that began them.
    scheduled: HashMap<i64, ActivityTaskScheduledEventAttributes>,
}

impl Told<'_> {
    async fn hear(&mut self, event_id: i64, attributes: Attributes) -> Result<(), Problem> {
        match attributes {
            Attributes::ActivityTaskScheduledEventAttributes(scheduled) => {
                self.scheduled.insert(event_id, scheduled);
            }
            Attributes::ActivityTaskCompletedEventAttributes(completed) => {
                let Some(scheduled) = self.scheduled.remove(&completed.scheduled_event_id) else {
                    return Ok(());
                };
                match scheduled
                    .activity_type
                    .as_ref()
                    .map_or("", |kind| kind.name.as_str())
                {
                    "generate" => match history::read(self.client, completed.result).await? {
                        GenerateOutcome::Generated(generation) => self.generated(generation),
                        GenerateOutcome::Canceled(_) => {}
                    },
                    "collect" => {
                        let generation = history::read(self.client, completed.result).await?;
                        self.generated(generation);
                    }
                    "persist" => {
                        let stored = history::read(self.client, completed.result).await?;
                        self.settled(scheduled, MediaOutcome::Completed(stored))
                            .await?;
                    }
                    _ => {}
                }
            }
            Attributes::ActivityTaskFailedEventAttributes(failed) => {
                if let Some(scheduled) = self.persist(failed.scheduled_event_id) {
                    self.settled(scheduled, outcome(failed.failure)).await?;
                }
            }
            Attributes::ActivityTaskTimedOutEventAttributes(timed_out) => {
                if let Some(scheduled) = self.persist(timed_out.scheduled_event_id) {
                    let error = JobError::new(FailureType::TimedOut, "persist ran out of time");
                    self.settled(
                        scheduled,
                        MediaOutcome::Failed {
                            error,
                            attempts: None,
                        },
                    )
                    .await?;
                }
            }
            Attributes::ActivityTaskCanceledEventAttributes(canceled) => {
                if let Some(scheduled) = self.persist(canceled.scheduled_event_id) {
                    self.settled(scheduled, MediaOutcome::Canceled).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn persist(&mut self, event_id: i64) -> Option<ActivityTaskScheduledEventAttributes> {
        let scheduled = self.scheduled.remove(&event_id)?;
        scheduled
            .activity_type
            .as_ref()
            .is_some_and(|kind| kind.name == "persist")
            .then_some(scheduled)
    }

    fn generated(&mut self, generation: Generation) {
        let Generation {
            provider,
            prediction_id,
            outputs,
            expires_at,
            metrics,
        } = generation;
        let provider = ProviderState::new(provider, prediction_id, PredictionStatus::Succeeded);
        self.state.made(
            outputs.len(),
            ProviderState {
                expires_at,
                metrics,
                ..provider
            },
        );
    }

    async fn settled(
        &mut self,
        scheduled: ActivityTaskScheduledEventAttributes,
        outcome: MediaOutcome,
    ) -> Result<(), Problem> {
        let input: PersistInput = history::read(self.client, scheduled.input).await?;
        if let Some(media) = self
            .state
            .media
            .iter_mut()
            .find(|media| media.index == input.index)
        {
            media.outcome = outcome;
        }
        Ok(())
    }
}

fn outcome(failure: Option<Failure>) -> MediaOutcome {
    let failure = failure.unwrap_or_default();
    let kind = match &failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) => FailureType::from_name(&info.r#type),
        _ => None,
    };
    let error = JobError::new(kind.unwrap_or(FailureType::Internal), failure.message);
    MediaOutcome::Failed {
        error,
        attempts: None,
    }
}
