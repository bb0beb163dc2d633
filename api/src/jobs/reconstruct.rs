//! Reconstruction of a job's state when no worker answers a query: from the input, the history and
//! the pending activities of its workflow. It is less exact than the workflow's own state.

use darkroom_temporal::{
    history::{Activity, Encoded, Event, HistoryError, Outcome},
    runs::{PendingActivity, pending_activities},
};
use darkroom_workflows::{
    MediaGeneration, MediaGenerationInput,
    contract::{
        collect::{CollectInput, CollectOutcome},
        find::FindOutcome,
        generate::{GenerateOutcome, GenerateRecord},
        persist::PersistInput,
    },
    failure::{FailureType, JobError},
    job::{
        JobState, JobStatus, MediaOutcome, MediaStatus, Prediction, PredictionStatus,
        ProviderState, Stage, timestamp,
    },
    media_generation::{Start, SubmissionOutcome, SubmissionSettled},
};
use temporalio_client::{
    Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowHandle,
};
use temporalio_common::data_converters::TemporalDeserializable;

use crate::{
    problem::Problem,
    temporal::{history, history_problem},
};

/// Reconstructs the state of a job.
pub(super) async fn reconstruct(
    handle: &WorkflowHandle<Client, MediaGeneration>,
    description: &WorkflowExecutionDescription,
) -> Result<JobState, Problem> {
    let mut history = history(handle);
    let input: MediaGenerationInput = history.input().await.map_err(history_problem)?;
    let created_at = description.start_time().map(timestamp).unwrap_or_default();
    let resumes = input.start == Start::Resume;
    let state = input.begin(created_at);
    let earlier = state.provider.as_ref().filter(|_| resumes);
    let mut projection = Projection {
        client: handle.client(),
        is_bought: earlier.is_some(),
        knows_outputs: earlier.is_some_and(|provider| provider.status.is_terminal()),
        state,
    };
    while let Some(event) = history.next().await.map_err(history_problem)? {
        projection.apply(event).await.map_err(history_problem)?;
    }
    let Projection {
        mut state,
        is_bought,
        knows_outputs,
        ..
    } = projection;
    let pending = |name: &str| pending_activities(description, name).next();
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
            match recorded(handle.client(), &generate).await {
                Some(GenerateRecord::Submitted(provider)) => state.record_purchase(provider),
                // The workflow of a job that was terminated will never record this.
                Some(GenerateRecord::Submitting(doubt)) if !is_open => state.doubt = Some(doubt),
                Some(_) | None => {}
            }
            generate.has_started().then_some(Stage::Generating)
        }
        () if pending("finalize").is_some() => Some(Stage::Finalizing),
        // The workflow is about to schedule the activities of the outputs.
        () if knows_outputs && state.count(MediaStatus::Pending) > 0 => Some(Stage::Persisting),
        // All outputs have ended; the local activity that writes the manifest is not in the
        // history.
        () if knows_outputs => Some(Stage::Finalizing),
        () if state.doubt.is_some() => Some(Stage::Reconciling),
        // The job waits for the provider's report.
        () if is_bought => Some(Stage::Generating),
        () => None,
    };
    if let Some(stage) = stage {
        state.status = JobStatus::Processing;
        state.stage = Some(stage);
    }
    Ok(state)
}

/// Returns the last record of an attempt of `generate`.
pub(crate) async fn recorded(
    client: &Client,
    generate: &PendingActivity<'_>,
) -> Option<GenerateRecord> {
    generate.heartbeat_details()?.decode(client).await.ok()
}

/// State of a job after the events that were applied so far.
struct Projection<'a> {
    client: &'a Client,
    /// The state. A retry begins with the prediction and the outputs of the run before.
    state: JobState,
    /// True if the prediction is the one of this run.
    is_bought: bool,
    /// True if the outputs are those that this run is to store.
    knows_outputs: bool,
}

impl Projection<'_> {
    async fn apply(&mut self, event: Event) -> Result<(), HistoryError> {
        match event {
            Event::Scheduled(activity) if activity.name == "collect" && !self.is_bought => {
                let input: CollectInput = self.decode(activity.input).await?;
                let status = PredictionStatus::Processing;
                self.bought(ProviderState::new(input.prediction, status));
            }
            Event::Signaled { name, input } if name == "submission_settled" => {
                let settled: SubmissionSettled = self.decode(input).await?;
                match settled.outcome {
                    SubmissionOutcome::Bought(provider) => self.bought(provider),
                    SubmissionOutcome::NotBought => self.state.doubt = None,
                }
            }
            Event::Ended(activity, outcome) => self.ended(activity, outcome).await?,
            Event::Scheduled(_) | Event::Signaled { .. } | Event::Reset { .. } => {}
        }
        Ok(())
    }

    async fn ended(&mut self, activity: Activity, outcome: Outcome) -> Result<(), HistoryError> {
        match (activity.name.as_str(), outcome) {
            ("generate", Outcome::Completed(result)) => match self.decode(result).await? {
                GenerateOutcome::Ended(ended) => self.prediction_ended(ended),
                GenerateOutcome::Submitted { state, .. } => self.bought(state),
                GenerateOutcome::InDoubt(doubt) => self.state.doubt = Some(doubt),
                GenerateOutcome::Refused { .. } => self.state.doubt = None,
                GenerateOutcome::Recorded(ended) => {
                    self.knows_outputs = true;
                    self.state.media = ended.media;
                    self.state.provider = ended.provider;
                    self.state.doubt = ended.doubt;
                }
            },
            (
                "generate",
                Outcome::TimedOut {
                    last_heartbeat: Some(details),
                },
            ) => match self.decode(details).await? {
                GenerateRecord::Submitted(provider) => self.bought(provider),
                GenerateRecord::Submitting(doubt) => self.state.doubt = Some(doubt),
                GenerateRecord::Refused => {}
            },
            ("find", Outcome::Completed(result)) => {
                if let FindOutcome::Found(provider) = self.decode(result).await? {
                    self.bought(provider);
                }
            }
            ("collect", Outcome::Completed(result)) => match self.decode(result).await? {
                CollectOutcome::Ended(ended) => self.prediction_ended(ended),
                CollectOutcome::Lost { .. } => {}
            },
            ("cancel_generation", Outcome::Completed(result)) => {
                let provider = self.decode(result).await?;
                self.bought(provider);
            }
            ("persist", outcome) => {
                let outcome = match outcome {
                    Outcome::Completed(result) => {
                        MediaOutcome::Completed(self.decode(result).await?)
                    }
                    Outcome::Failed {
                        error_type,
                        message,
                    } => failed(error_type.as_deref(), message),
                    Outcome::TimedOut { .. } => {
                        let detail = "persist ran out of time";
                        MediaOutcome::Failed {
                            error: JobError::new(FailureType::TimedOut, detail),
                            attempts: None,
                        }
                    }
                    Outcome::Canceled => MediaOutcome::Canceled,
                };
                self.persist_ended(activity.input, outcome).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn bought(&mut self, provider: ProviderState) {
        self.state.record_purchase(provider);
        self.is_bought = true;
    }

    fn prediction_ended(&mut self, ended: Prediction) {
        if let Ok(outputs) = ended.made() {
            let prediction = &ended.state.prediction.id;
            self.state.record_outputs(outputs, prediction);
            self.knows_outputs = true;
        }
        self.bought(ended.state);
    }

    async fn persist_ended(
        &mut self,
        input: Encoded,
        outcome: MediaOutcome,
    ) -> Result<(), HistoryError> {
        let input: PersistInput = self.decode(input).await?;
        let mut media = self.state.media.iter_mut();
        if let Some(media) = media.find(|media| media.index == input.index) {
            media.outcome = outcome;
        }
        Ok(())
    }

    async fn decode<T>(&self, payloads: Encoded) -> Result<T, HistoryError>
    where
        T: TemporalDeserializable + 'static,
    {
        Ok(payloads.decode(self.client).await?)
    }
}

fn failed(error_type: Option<&str>, message: String) -> MediaOutcome {
    let kind = error_type.and_then(FailureType::from_name);
    MediaOutcome::Failed {
        error: JobError::new(kind.unwrap_or(FailureType::Internal), message),
        attempts: None,
    }
}
