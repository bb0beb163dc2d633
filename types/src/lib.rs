//! Types of Darkroom's API, shared by api, worker and client: requests, resources, problems, and
//! the names of statuses and failures. Nothing here does I/O or depends on Temporal or on an HTTP
//! server.
//!
//! In reading order:
//!
//! - [`request`]: bodies and query parameters that callers send, validated while they are parsed
//! - [`resource`]: bodies that callers receive
//! - [`problem`]: error responses (`application/problem+json`)
//! - [`tenant`], [`job_id`], [`api_key`]: tenants, job ids with the S3 keys of a job, API keys with
//!   their scopes
//! - [`object_key`], [`sha256`]: keys of objects in the bucket, and digests of their content
//! - [`status`], [`provider`]: statuses of jobs, outputs and predictions
//! - [`failure`]: failure types of jobs and outputs
//! - [`retry_after`]: the `Retry-After` header, in seconds or as a date
//! - `bounded`, `schema`: macros for numbers with limits, and for schemas

mod bounded;
mod schema;

pub mod api_key;
pub mod failure;
pub mod job_id;
pub mod object_key;
pub mod problem;
pub mod provider;
pub mod request;
pub mod resource;
pub mod retry_after;
pub mod sha256;
pub mod status;
pub mod tenant;

/// Validation error of one value. The message states the rule and reads well after the name of the
/// field.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);
