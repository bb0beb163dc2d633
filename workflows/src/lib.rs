//! The job vocabulary, the activity definitions and the workflows of Darkroom. Workflow code is
//! replayed from histories, so nothing here does I/O, reads a clock or needs a runtime.
//!
//! - [`request`], [`tenant`]: the request of a caller and the tenant it belongs to, in the API's
//!   terms
//! - [`job`]: the state of a job, as queries, results and manifests carry it
//! - [`failure`]: failures as Temporal carries them
//! - [`contract`]: the activities that workflows call, with their timeouts and retry policies
//! - [`media_generation`]: the workflow of a job
//! - [`webhook_delivery`]: the workflow that delivers a webhook when a job has ended
//! - [`job_deletion`]: the workflow that deletes a job, on request or when it expires
//! - [`storage_sweep`]: the workflow that sweeps the store
//! - `queue`: the task queues; [`search_attributes`]: the search attributes
//! - [`webhook_secret`]: signing and verifying webhooks

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
