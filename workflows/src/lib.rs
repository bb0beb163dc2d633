//! The contract of Darkroom: the vocabulary of jobs, the definitions of activities and the workflow that ties them
//! together. No I/O, no clock, no runtime: everything here must replay for ever.
//!
//! - [`request`], [`tenant`]: what a caller asks for and whose job it is, in the words of the API
//! - [`job`]: the state of a job, as queries, results and manifests carry it
//! - [`failure`]: why something failed, and what that means to whoever decides next
//! - [`contract`]: what the workflow may ask of the world, with timeouts and retry policies
//! - [`media_generation`]: the workflow itself
//! - [`webhook_delivery`]: the workflow that tells a caller of the end of a job
//! - [`storage_sweep`]: the workflow that keeps the store tidy
//! - [`job_deletion`]: the workflow that removes a job

pub mod contract;
pub mod failure;
pub mod job;
pub mod job_deletion;
pub mod media_generation;
mod queue;
pub mod search_attributes;
pub mod storage_sweep;
pub mod webhook_delivery;
pub mod webhook_secret;

pub use darkroom_types::{request, tenant};
pub use job_deletion::{JobDeletion, JobDeletionInput};
pub use media_generation::{MediaGeneration, MediaGenerationInput};
pub use queue::{PERSIST_QUEUE, WEBHOOK_QUEUE, WORKFLOW_QUEUE, reads_queue, submissions_queue};
pub use storage_sweep::StorageSweep;
pub use webhook_delivery::{WebhookDelivery, WebhookDeliveryInput};
