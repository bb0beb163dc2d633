//! The words of Darkroom's API, each shape once: what callers send and get, and what the rest of Darkroom calls the same
//! things. It knows nobody: no Temporal, no HTTP server, no I/O.
//!
//! - [`request`]: what a caller asks for, parsed
//! - [`resource`]: what a caller gets
//! - [`problem`]: what a caller is told of errors
//! - [`tenant`], [`job_id`], [`api_key`]: whose job it is, which, and who may
//! - [`status`], [`provider`]: where jobs, outputs and predictions stand
//! - [`failure`]: why something failed

mod bounded;
mod schema;

pub mod api_key;
pub mod failure;
pub mod job_id;
pub mod problem;
pub mod provider;
pub mod request;
pub mod resource;
pub mod status;
pub mod tenant;

/// Why a value is not acceptable. The message names the rule and reads well after the name of the field.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);
