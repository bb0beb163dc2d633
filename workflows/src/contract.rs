//! The definitions of the activities that the workflows call. Input, result, timeouts and retry
//! policy of each are in a file of its own below. The implementations are in the `activities`
//! crate.
//!
//! - [`generate`]: buys a prediction; [`collect`]: reads how it ended; [`find`]: searches for one
//!   whose submission is in doubt; [`cancel`]: cancels one
//! - [`persist`]: moves one output into the store
//! - [`finalize`]: writes the manifest
//! - [`webhook`]: delivers a webhook
//! - [`delete`]: deletes a job; [`sweep`]: removes orphaned objects from the store

#![expect(
    missing_docs,
    reason = "the macros make constants that cannot carry documentation"
)]

pub mod cancel;
pub mod collect;
pub mod delete;
pub mod finalize;
pub mod find;
pub mod generate;
pub mod persist;
pub mod sweep;
pub mod webhook;

use std::time::Duration;

use temporalio_macros::activity_definitions;
use temporalio_workflow::{
    RetryPolicy,
    common::{ActivityError, Priority},
};

pub use self::activities::{
    CancelGeneration, Collect, DeleteJob, DeliverWebhook, Finalize, Find, Generate, Persist, Sweep,
};
use self::{
    cancel::CancelGenerationInput,
    collect::{CollectInput, CollectOutcome},
    delete::DeleteJobInput,
    finalize::Finalized,
    find::{FindInput, FindOutcome},
    generate::{GenerateInput, GenerateOutcome},
    persist::PersistInput,
    sweep::{SweepInput, Swept},
    webhook::{DeliverWebhookInput, Delivery},
};
use crate::job::{JobState, ProviderState, StoredMedia};

/// The activities that the workflows call. Each method is also a type, which an implementation
/// names as its definition.
pub struct Activities;

#[activity_definitions]
impl Activities {
    /// Buys a prediction, or finds out what an earlier attempt bought, and polls it for some
    /// seconds. The outcome is always a value, never a failure: see [`GenerateOutcome`].
    ///
    /// # Errors
    /// None of its own; Temporal may time it out or cancel it.
    #[activity(name = "generate")]
    pub fn generate(_input: GenerateInput) -> Result<GenerateOutcome, ActivityError> {
        unimplemented!()
    }

    /// Reads how a prediction ended.
    ///
    /// # Errors
    /// If the prediction has not ended yet, or the provider cannot be queried: Temporal retries
    /// after the delay that the attempt asks for.
    #[activity(name = "collect")]
    pub fn collect(_input: CollectInput) -> Result<CollectOutcome, ActivityError> {
        unimplemented!()
    }

    /// Searches for the prediction of a submission whose answer is lost.
    ///
    /// # Errors
    /// If the provider cannot be queried.
    #[activity(name = "find")]
    pub fn find(_input: FindInput) -> Result<FindOutcome, ActivityError> {
        unimplemented!()
    }

    /// Cancels a prediction unless it has ended, and returns what the provider did about it.
    ///
    /// # Errors
    /// If the provider cannot be reached.
    #[activity(name = "cancel_generation")]
    pub fn cancel_generation(
        _input: CancelGenerationInput,
    ) -> Result<ProviderState, ActivityError> {
        unimplemented!()
    }

    /// Moves one output from the provider into the store.
    ///
    /// # Errors
    /// If the source or the store refuses, or time runs out.
    #[activity(name = "persist")]
    pub fn persist(_input: PersistInput) -> Result<StoredMedia, ActivityError> {
        unimplemented!()
    }

    /// Aborts multipart uploads that no attempt will finish, and removes objects that no manifest
    /// names.
    ///
    /// # Errors
    /// If the store or Temporal refuses or cannot be reached.
    #[activity(name = "sweep")]
    pub fn sweep(_input: SweepInput) -> Result<Swept, ActivityError> {
        unimplemented!()
    }

    /// Deletes a job from the store and from Temporal.
    ///
    /// # Errors
    /// If the job has not ended yet, something of it is left, or the store or Temporal cannot be
    /// reached.
    #[activity(name = "delete_job")]
    pub fn delete_job(_input: DeleteJobInput) -> Result<(), ActivityError> {
        unimplemented!()
    }

    /// Sends a webhook message to a caller, once. The outcome is a value: the workflow decides when
    /// to retry.
    ///
    /// # Errors
    /// None of its own; Temporal may time it out or cancel it.
    #[activity(name = "deliver_webhook")]
    pub fn deliver_webhook(_input: DeliverWebhookInput) -> Result<Delivery, ActivityError> {
        unimplemented!()
    }

    /// Writes the job's manifest: the record of the job after Temporal's retention period.
    ///
    /// # Errors
    /// If the store refuses or fails.
    #[activity(name = "finalize")]
    pub fn finalize(_job: JobState) -> Result<Finalized, ActivityError> {
        unimplemented!()
    }
}

/// Longest time that a job waits for anything, unless its own deadline says otherwise.
pub const DAY: Duration = Duration::from_hours(24);

/// Priority key of what must not queue behind work that can wait, whichever tenant's that is.
const URGENT: u32 = 1;

/// Priority key of calls that a job already in progress waits for.
const IN_PROGRESS: u32 = 2;

/// Sets the priority key only: the fairness key, and so the order of tenants within a priority,
/// stays as it is.
fn priority(key: u32) -> Priority {
    Priority::builder().priority_key(key).build()
}

fn backoff(maximum_interval: Duration) -> RetryPolicy {
    RetryPolicy::builder()
        .initial_interval(Duration::from_secs(1))
        .maximum_interval(maximum_interval)
        .build()
}

fn once() -> RetryPolicy {
    RetryPolicy::builder().maximum_attempts(1).build()
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}
