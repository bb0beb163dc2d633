//! Search attributes by which jobs are found in Temporal's visibility store. They are plain text
//! and eventually consistent: they carry nothing personal, and no decision depends on them.

use temporalio_workflow::common::search_attributes::SearchAttributeKey;

/// Status of a job: `processing` while the workflow is open, then its terminal
/// [`crate::job::JobStatus`].
pub const JOB_STATUS: SearchAttributeKey<String> = SearchAttributeKey::keyword("JobStatus");

/// Model that a job asked for, `owner/name[:version]`.
pub const MODEL: SearchAttributeKey<String> = SearchAttributeKey::keyword("Model");

/// Tenant of a job; absent if callers have no API keys.
pub const TENANT: SearchAttributeKey<String> = SearchAttributeKey::keyword("Tenant");

/// Names of all search attributes. Each is a `Keyword` and must be registered with the namespace.
pub const NAMES: [&str; 3] = ["JobStatus", "Model", "Tenant"];
