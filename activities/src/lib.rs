//! What touches the world on behalf of a job: the activities that the workflow asks for, one module each. How they are
//! scheduled and tried again is in the workflows crate; which of them a process serves is in the worker crate.
//!
//! - [`registered`]: the activities as a worker registers them
//! - [`generate`]: has a provider make the outputs, and pays for them once
//! - [`persist`]: moves one output into the store
//! - [`guard`]: keeps what is fetched on someone's word to public addresses
//! - [`store_access`]: whether the store keeps what is paid for
//! - [`sweep`]: removes from the store what belongs to nobody
//! - [`delete`]: removes all that there is of a job
//! - [`deliver_webhook`]: tells a caller how a job ended
//! - [`finalize`]: writes the manifest; `manifest`: where it lies; `tombstone`: what is left of a job that was deleted
//! - [`failure`]: turns our errors into Temporal's, in one place
//! - [`metrics`]: what is counted

pub mod delete;
pub mod deliver_webhook;
pub mod failure;
pub mod finalize;
pub mod generate;
pub mod guard;
pub mod metrics;
pub mod persist;
pub mod registered;
pub mod store_access;
pub mod sweep;

mod manifest;
mod tombstone;

pub use registered::Activities;
