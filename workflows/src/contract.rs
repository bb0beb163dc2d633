//! What the workflows may ask of the world: the definitions of the activities. What goes in and comes out of each, how long it
//! may take and how it is tried again is in a file of its own below. How they do it is the activities crate's business.
//!
//! - [`generate`]: buying a prediction; [`find`]: looking for one that may have been bought; [`collect`]: reading one;
//!   [`cancel`]: stopping one
//! - [`persist`]: moving one output into the store
//! - [`finalize`]: writing the manifest
//! - [`webhook`]: telling a caller
//! - [`sweep`]: tidying the store; [`delete`]: removing a job from it

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
    find::{FindInput, FindOutcome},
    generate::{GenerateInput, GenerateOutcome},
    persist::PersistInput,
    sweep::{SweepInput, Swept},
    webhook::{DeliverWebhookInput, Delivery},
};
use crate::job::{JobState, ProviderState, StoredMedia};

/// The activities of a job. Each method is also a type of its own, which an implementation names as its definition.
pub struct Activities;

#[activity_definitions]
impl Activities {
    /// Buys a prediction, or finds out what an earlier attempt bought, and looks at it for some seconds. What it knows is a
    /// value, never a failure: see [`GenerateOutcome`].
    ///
    /// # Errors
    /// None of its own.
    #[activity(name = "generate")]
    pub fn generate(_input: GenerateInput) -> Result<GenerateOutcome, ActivityError> {
        unimplemented!()
    }

    /// Reads how a prediction ended.
    ///
    /// # Errors
    /// It has not ended yet, or the provider cannot be asked: Temporal tries again at the provider's pace.
    #[activity(name = "collect")]
    pub fn collect(_input: CollectInput) -> Result<CollectOutcome, ActivityError> {
        unimplemented!()
    }

    /// Looks for the prediction of a submission whose answer is lost.
    ///
    /// # Errors
    /// The provider cannot be asked.
    #[activity(name = "find")]
    pub fn find(_input: FindInput) -> Result<FindOutcome, ActivityError> {
        unimplemented!()
    }

    /// Cancels a prediction unless it has ended, and says what came of it.
    ///
    /// # Errors
    /// The provider cannot be asked.
    #[activity(name = "cancel_generation")]
    pub fn cancel_generation(
        _input: CancelGenerationInput,
    ) -> Result<ProviderState, ActivityError> {
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

    /// Aborts uploads that nobody finishes, and removes objects that no manifest names.
    ///
    /// # Errors
    /// The store cannot be asked.
    #[activity(name = "sweep")]
    pub fn sweep(_input: SweepInput) -> Result<Swept, ActivityError> {
        unimplemented!()
    }

    /// Removes all that there is of a job.
    ///
    /// # Errors
    /// The job has not ended yet, something of it is left, or the store or Temporal cannot be asked.
    #[activity(name = "delete_job")]
    pub fn delete_job(_input: DeleteJobInput) -> Result<(), ActivityError> {
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
    pub fn finalize(_job: JobState) -> Result<Option<JobState>, ActivityError> {
        unimplemented!()
    }
}

/// The longest that anything of a job is waited for, unless its own deadline says otherwise.
pub const DAY: Duration = Duration::from_hours(24);

/// What must not wait behind what can, whosever it is.
const URGENT: u32 = 1;

/// What somebody waits for that was there before.
const SOON: u32 = 2;

/// Priority before others; whose turn it is within it stays as it was.
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
