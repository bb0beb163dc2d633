//! What can be told of a job without its workflow: what was asked, what its activities have recorded in the history, and
//! what it waits for. The workflow knows better; this is for when no worker is there to ask it.

use std::collections::HashMap;

use darkroom_workflows::{
    MediaGeneration, MediaGenerationInput,
    contract::{
        collect::{CollectOutcome, EndedPrediction},
        find::FindOutcome,
        generate::{GenerateOutcome, GenerateRecord},
        persist::PersistInput,
    },
    failure::{FailureType, JobError},
    job::{JobState, JobStatus, MediaOutcome, MediaStatus, Stage, timestamp},
};
use futures::StreamExt;
use temporalio_client::{Client, WorkflowExecutionDescription, WorkflowHandle};
use temporalio_common::protos::temporal::api::{
    enums::v1::PendingActivityState,
    failure::v1::{Failure, failure::FailureInfo},
    history::v1::{ActivityTaskScheduledEventAttributes, history_event::Attributes},
    workflow::v1::PendingActivityInfo,
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
    let state = input.begin(created_at);
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
    let mut state = told.state;
    let pending = |name: &str| pending(description, name);
    let stage = match () {
        () if pending("persist").is_some() => Some(Stage::Persisting),
        () if pending("find").is_some() => Some(Stage::Reconciling),
        () if pending("collect").is_some() || pending("cancel_generation").is_some() => {
            Some(Stage::Generating)
        }
        () if let Some(generate) = pending("generate") => {
            if let Some(record) = recorded(handle.client(), generate).await {
                record_of(&mut state, record);
            }
            has_started(generate).then_some(Stage::Generating)
        }
        () if pending("finalize").is_some() => Some(Stage::Finalizing),
        // Everything has settled but the manifest, which is written beside the workflow.
        () if !state.media.is_empty() && state.count(MediaStatus::Pending) == 0 => {
            Some(Stage::Finalizing)
        }
        () if state.doubt.is_some() => Some(Stage::Reconciling),
        // It waits for a report.
        () if state.provider.is_some() && state.media.is_empty() => Some(Stage::Generating),
        () => None,
    };
    if let Some(stage) = stage {
        state.status = JobStatus::Processing;
        state.stage = Some(stage);
    }
    Ok(state)
}

/// The activity of this name that a workflow waits for.
pub(crate) fn pending<'a>(
    description: &'a WorkflowExecutionDescription,
    name: &str,
) -> Option<&'a PendingActivityInfo> {
    let mut pending = description.raw().pending_activities.iter();
    pending.find(|activity| {
        let kind = activity.activity_type.as_ref();
        kind.is_some_and(|kind| kind.name == name)
    })
}

/// Whether a worker has taken an activity up.
pub(super) fn has_started(activity: &PendingActivityInfo) -> bool {
    activity.state() != PendingActivityState::Scheduled
}

/// What an attempt at `generate` has recorded so far.
pub(crate) async fn recorded(
    client: &Client,
    generate: &PendingActivityInfo,
) -> Option<GenerateRecord> {
    let details = generate.heartbeat_details.clone()?;
    history::read(client, Some(details)).await.ok()
}

fn record_of(state: &mut JobState, record: GenerateRecord) {
    match record {
        GenerateRecord::Submitted(provider) => state.bought(provider),
        GenerateRecord::Submitting(_) | GenerateRecord::Refused => {}
    }
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
                        GenerateOutcome::Ended(ended) => self.ended(ended),
                        GenerateOutcome::Submitted { state, .. } => self.state.bought(state),
                        GenerateOutcome::InDoubt(doubt) => self.state.doubt = Some(doubt),
                        GenerateOutcome::Refused { .. } => self.state.doubt = None,
                    },
                    "find" => {
                        if let FindOutcome::Found(provider) =
                            history::read(self.client, completed.result).await?
                        {
                            self.state.bought(provider);
                        }
                    }
                    "collect" => match history::read(self.client, completed.result).await? {
                        CollectOutcome::Ended(ended) => self.ended(ended),
                        CollectOutcome::Lost { .. } => {}
                    },
                    "cancel_generation" => {
                        let provider = history::read(self.client, completed.result).await?;
                        self.state.bought(provider);
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

    fn ended(&mut self, ended: EndedPrediction) {
        if let Ok(outputs) = ended.outputs() {
            let prediction = &ended.state.prediction.id;
            self.state.made(outputs.len(), prediction);
        }
        self.state.bought(ended.state);
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
