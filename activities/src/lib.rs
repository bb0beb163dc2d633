//! The activities of Darkroom's workflows: all calls to the provider, to the hosts of outputs, to
//! the store and to webhook receivers. Their timeouts and retry policies are in the workflows
//! crate; the task queues that a process polls are chosen in the worker crate.
//!
//! Modules, in reading order:
//!
//! - `registered`: the activities as a worker registers them
//! - [`failure`]: errors as typed Temporal failures, retryable or not
//! - [`generate`]: buys a prediction once, polls it, finds one in doubt, cancels it
//! - [`persist`]: uploads one output into the store, and resumes after an interruption
//! - [`guard`]: protection against server-side request forgery, for all URLs from outside
//! - [`finalize`]: writes the manifest of a job; `manifest`: its object and its index entry
//! - [`deliver_webhook`]: sends one webhook
//! - [`delete`]: deletes a job from Temporal and the store; `tombstone`: marks its id as used
//! - [`sweep`]: removes abandoned multipart uploads and objects
//! - [`store_access`]: probes whether the store accepts writes
//! - [`metrics`]: metrics of jobs, outputs, predictions and webhooks

pub mod delete;
pub mod deliver_webhook;
pub mod failure;
pub mod finalize;
pub mod generate;
pub mod guard;
pub mod metrics;
pub mod persist;

pub mod store_access;
pub mod sweep;

mod manifest;
mod registered;
mod tombstone;

pub use registered::{
    Activities, CancelGeneration, Collect, DeleteJob, DeliverWebhook, Finalize, Find, Generate,
    Persist, Sweep,
};
