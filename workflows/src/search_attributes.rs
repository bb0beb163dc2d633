//! The search attributes by which jobs are found in Temporal's visibility store. They are plain text and eventually
//! consistent: nothing personal goes in, and nothing is decided from them.

use temporalio_workflow::common::search_attributes::SearchAttributeKey;

/// The status of a job: `processing` while the workflow is open, then its terminal [`crate::job::JobStatus`].
pub const JOB_STATUS: SearchAttributeKey<String> = SearchAttributeKey::keyword("JobStatus");

/// The model that a job asked for, `owner/name[:version]`.
pub const MODEL: SearchAttributeKey<String> = SearchAttributeKey::keyword("Model");

/// Whose job it is; absent where callers have no keys.
pub const TENANT: SearchAttributeKey<String> = SearchAttributeKey::keyword("Tenant");

/// The names of all our search attributes; each is a `Keyword` and must be registered with the namespace.
pub const NAMES: [&str; 3] = ["JobStatus", "Model", "Tenant"];
