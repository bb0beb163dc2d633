//! What the workflow may ask of the world: the definitions of activities, what goes in and comes out of them, and (in
//! `options`) how long they may take and how they are tried again. How they do it is the activities crate's business.

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

mod options;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use temporalio_macros::activity_definitions;
use temporalio_workflow::common::ActivityError;

pub use self::options::{
    cancel_generation_options, collect_options, deliver_webhook_options, finalize_later_options,
    finalize_options, generate_options, inspect_locally_options, inspect_options, persist_options,
    sweep_options,
};
use crate::{
    job::{CancelOutcome, JobId, JobState, PredictionStatus, StoredMedia},
    request::{JobRequest, WebhookUrl},
    tenant::Tenant,
    webhook_delivery::DeliveryAttempt,
};

pub use self::activities::{
    CancelGeneration, Collect, DeliverWebhook, Finalize, Generate, Inspect, Persist, Sweep,
};

/// The activities of a job. Each method is also a type of its own, which an implementation names as its definition.
pub struct Activities;

#[activity_definitions]
impl Activities {
    /// Has the provider make the outputs and waits until it has.
    ///
    /// # Errors
    /// The provider refuses, fails, or cannot be reached for a day.
    #[activity(name = "generate")]
    pub fn generate(_input: GenerateInput) -> Result<GenerateOutcome, ActivityError> {
        unimplemented!()
    }

    /// Reads a prediction that the provider reported as ended.
    ///
    /// # Errors
    /// As `generate`.
    #[activity(name = "collect")]
    pub fn collect(_input: CollectInput) -> Result<Generation, ActivityError> {
        unimplemented!()
    }

    /// Reads what a `generate` that still runs has recorded, before it is canceled: what it records may vanish with it.
    ///
    /// # Errors
    /// Temporal does not answer.
    #[activity(name = "inspect")]
    pub fn inspect() -> Result<Option<GenerateCheckpoint>, ActivityError> {
        unimplemented!()
    }

    /// Cancels the prediction of a `generate` that could not do so itself. `None` if there is none.
    ///
    /// # Errors
    /// The provider cannot be reached.
    #[activity(name = "cancel_generation")]
    pub fn cancel_generation(
        _input: CancelGenerationInput,
    ) -> Result<Option<CanceledGeneration>, ActivityError> {
        unimplemented!()
    }

    /// Moves one output from the provider into the store.
    ///
    /// # Errors
    /// The source or the store refuses, or time runs out.
    #[activity(name = "persist")]
    pub fn persist(_input: PersistInput) -> Result<StoredMedia, ActivityError> {
        unimplemented!()
    }

    /// Aborts uploads that nobody finishes.
    ///
    /// # Errors
    /// The store cannot be asked.
    #[activity(name = "sweep")]
    pub fn sweep(_input: SweepInput) -> Result<Swept, ActivityError> {
        unimplemented!()
    }

    /// Sends a message to a caller, once. What came of it is a value: the workflow decides when to try again.
    ///
    /// # Errors
    /// None of its own.
    #[activity(name = "deliver_webhook")]
    pub fn deliver_webhook(_input: DeliverWebhookInput) -> Result<Delivery, ActivityError> {
        unimplemented!()
    }

    /// Writes the job's manifest: the record of the job once Temporal has forgotten it.
    ///
    /// # Errors
    /// The store cannot take it.
    #[activity(name = "finalize")]
    pub fn finalize(_job: JobState) -> Result<(), ActivityError> {
        unimplemented!()
    }
}

/// The input of `generate`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GenerateInput {
    /// The job.
    pub job_id: JobId,
    /// What the caller asked for.
    pub request: JobRequest,
    /// When the job set out to generate: no prediction of it is older.
    #[serde(default)]
    pub since: Timestamp,
    /// The run that set out. One that is not it came of a reset, and finds what was bought before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Whether an earlier run ended without knowing if it had bought something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_in_doubt: bool,
}

/// What `generate` records, acknowledged, around its one paid call, so that whoever comes after knows what is safe.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "submission", rename_all = "snake_case")]
pub enum GenerateCheckpoint {
    /// About to submit: from here on the provider may have the work.
    Submitting,
    /// The provider said no, so it does not have the work.
    Refused,
    /// The provider failed while it answered: it may have the work, and will show it soon if so.
    Doubtful,
    /// The provider has the work.
    Submitted {
        /// Which provider.
        provider: String,
        /// The provider's id of the prediction.
        prediction_id: String,
    },
}

/// The result of `generate`. A cancellation is a value, not an error: the workflow gets no details with an error.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum GenerateOutcome {
    /// The provider has made the outputs.
    Generated(Generation),
    /// The job was canceled, and so was the prediction, as far as it could be.
    Canceled(CanceledGeneration),
}

/// A prediction that was stopped on request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CanceledGeneration {
    /// Which provider had it.
    pub provider: String,
    /// The provider's id of it.
    pub prediction_id: String,
    /// How it stood when last seen.
    pub status: PredictionStatus,
    /// What the provider did about the request.
    pub cancel_outcome: CancelOutcome,
}

/// The input of `collect`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CollectInput {
    /// The provider's id of the prediction.
    pub prediction_id: String,
}

/// The input of `cancel_generation`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CancelGenerationInput {
    /// The job.
    pub job_id: JobId,
    /// What `generate` recorded last.
    pub checkpoint: GenerateCheckpoint,
    /// When the job set out to generate.
    pub since: Timestamp,
}

/// Outputs that the provider has made.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Generation {
    /// Which provider made it.
    pub provider: String,
    /// The provider's id of it.
    pub prediction_id: String,
    /// Where the outputs can be had, in the provider's order; never empty.
    pub outputs: Vec<OutputSource>,
    /// When the provider removes them, if it does.
    pub expires_at: Option<Timestamp>,
    /// What the provider measured.
    pub metrics: Map<String, Value>,
}

/// Where an output can be had. A URL may carry a signature, so it stays out of the job resource and of logs.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSource {
    /// At this address.
    Url(String),
    /// Within the prediction itself, as a `data:` URL: too large for a history, so it is asked for again.
    Prediction,
}

impl std::fmt::Debug for OutputSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Url(_) => "Url(…)",
            Self::Prediction => "Prediction",
        })
    }
}

/// The input of `persist`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PersistInput {
    /// The job.
    pub job_id: JobId,
    /// The provider's id of the prediction that made the output.
    pub prediction_id: String,
    /// The output's position.
    pub index: u32,
    /// Where it can be had.
    pub source: OutputSource,
    /// Whether what lies under its key is of an earlier generation and to be replaced.
    #[serde(default)]
    pub replace: bool,
}

/// How far a `persist` that runs has come: the beginning of what it records with its heartbeats.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PersistProgress {
    /// The output's position.
    pub index: u32,
    /// How many of its bytes are in the store, or on their way there.
    pub bytes_done: u64,
    /// How many it has, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
}

/// The input of `sweep`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SweepInput {
    /// How old an upload must be to count as abandoned: longer than any attempt at a `persist` may take.
    pub older_than_seconds: u32,
}

/// What a `sweep` did.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Swept {
    /// How many uploads it aborted.
    pub aborted: u32,
    /// How many it could not.
    pub failed: u32,
}

/// The input of `deliver_webhook`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeliverWebhookInput {
    /// Whose secret signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Where to.
    pub url: WebhookUrl,
    /// The message's id.
    pub message_id: String,
    /// The bytes to send.
    pub body: String,
}

/// What came of an attempt to deliver a message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Delivery {
    /// What it means.
    pub verdict: Verdict,
    /// How long the receiver asks us to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// What is kept of it.
    pub attempt: DeliveryAttempt,
}

/// What an attempt to deliver a message means.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// Another attempt may succeed.
    Failed,
    /// None ever will.
    Refused,
}
