//! What can be told of a job without its workflow: what was asked, what its activities have recorded in the history, and
//! what it waits for. The workflow knows better; this is for when no worker is there to ask it.

use std::collections::HashMap;

use darkroom_workflows::{
    MediaGeneration, MediaGenerationInput,
    contract::{
        collect::{CollectInput, CollectOutcome, EndedPrediction},
        find::FindOutcome,
        generate::{GenerateOutcome, GenerateRecord},
        persist::PersistInput,
    },
    failure::{FailureType, JobError},
    job::{
        JobState, JobStatus, MediaOutcome, MediaStatus, PredictionStatus, ProviderState, Stage,
        timestamp,
    },
    media_generation::{SubmissionOutcome, SubmissionSettled},
};
use futures::StreamExt;
use temporalio_client::{
    Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle,
};
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
    let is_open = matches!(
        description.status(),
        WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused
    );
    let stage = match () {
        () if pending("persist").is_some() => Some(Stage::Persisting),
        () if pending("find").is_some() => Some(Stage::Reconciling),
        () if pending("collect").is_some() || pending("cancel_generation").is_some() => {
            Some(Stage::Generating)
        }
        () if let Some(generate) = pending("generate") => {
            match recorded(handle.client(), generate).await {
                Some(GenerateRecord::Submitted(provider)) => state.bought(provider),
                // Of a job that was ended from outside nobody else will tell.
                Some(GenerateRecord::Submitting(doubt)) if !is_open => state.doubt = Some(doubt),
                Some(_) | None => {}
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
                if name_of(&scheduled) == "collect" && self.state.provider.is_none() {
                    let input: CollectInput =
                        history::read(self.client, scheduled.input.clone()).await?;
                    let status = PredictionStatus::Processing;
                    self.state
                        .bought(ProviderState::new(input.prediction, status));
                }
                self.scheduled.insert(event_id, scheduled);
            }
            Attributes::WorkflowExecutionSignaledEventAttributes(signal)
                if signal.signal_name == "submission_settled" =>
            {
                let settled: SubmissionSettled = history::read(self.client, signal.input).await?;
                match settled.outcome {
                    SubmissionOutcome::Bought(provider) => self.state.bought(provider),
                    SubmissionOutcome::NotBought => self.state.doubt = None,
                }
            }
            Attributes::ActivityTaskCompletedEventAttributes(completed) => {
                let Some(scheduled) = self.scheduled.remove(&completed.scheduled_event_id) else {
                    return Ok(());
                };
                match name_of(&scheduled) {
                    "generate" => match history::read(self.client, completed.result).await? {
                        GenerateOutcome::Ended(ended) => self.ended(ended),
                        GenerateOutcome::Submitted { state, .. } => self.state.bought(state),
                        GenerateOutcome::InDoubt(doubt) => self.state.doubt = Some(doubt),
                        GenerateOutcome::Refused { .. } => self.state.doubt = None,
                        GenerateOutcome::Recorded(ended) => {
                            self.state.media = ended.media;
                            self.state.provider = ended.provider;
                            self.state.doubt = ended.doubt;
                        }
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
            Attributes::ActivityTaskTimedOutEventAttributes(timed_out)
                if self.is(timed_out.scheduled_event_id, "generate") =>
            {
                self.scheduled.remove(&timed_out.scheduled_event_id);
                let info = timed_out.failure.and_then(|failure| failure.failure_info);
                if let Some(FailureInfo::TimeoutFailureInfo(timeout)) = info
                    && let Some(details) = timeout.last_heartbeat_details
                {
                    match history::read(self.client, Some(details)).await? {
                        GenerateRecord::Submitted(provider) => self.state.bought(provider),
                        GenerateRecord::Submitting(doubt) => self.state.doubt = Some(doubt),
                        GenerateRecord::Refused => {}
                    }
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

    fn is(&self, event_id: i64, name: &str) -> bool {
        let scheduled = self.scheduled.get(&event_id);
        scheduled.is_some_and(|scheduled| name_of(scheduled) == name)
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
            self.state.made(outputs, prediction);
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

fn name_of(scheduled: &ActivityTaskScheduledEventAttributes) -> &str {
    let kind = scheduled.activity_type.as_ref();
    kind.map_or("", |kind| kind.name.as_str())
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
