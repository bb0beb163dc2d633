//! The contract of Darkroom: the vocabulary of jobs, the definitions of activities and the workflow that ties them
//! together. No I/O, no clock, no runtime: everything here must replay for ever.
//!
//! - [`request`]: what a caller asks for, parsed
//! - [`tenant`]: whose job it is
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
pub mod request;
pub mod search_attributes;
pub mod storage_sweep;
pub mod tenant;
pub mod webhook_delivery;
pub mod webhook_secret;

pub use job_deletion::{JobDeletion, JobDeletionInput};
pub use media_generation::{MediaGeneration, MediaGenerationInput};
pub use storage_sweep::StorageSweep;
pub use webhook_delivery::{WebhookDelivery, WebhookDeliveryInput};

/// The task queue of the workflows and of `finalize`. What is asked of a provider has queues of its own: see
/// [`job::ProviderName`].
pub const WORKFLOW_QUEUE: &str = "media-generation";

/// The task queue of webhooks: receivers may take their time.
pub const WEBHOOK_QUEUE: &str = "media-webhooks";

/// The task queue of `persist`: few slots, many bytes.
pub const PERSIST_QUEUE: &str = "media-persist";
