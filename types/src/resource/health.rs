//! Health and readiness of the api.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema::example;

/// Liveness of the process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("health.json")))]
pub struct Health {
    /// Always `ok`.
    pub status: String,
}

/// Readiness of the api, with the result of each check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("readiness.json")))]
pub struct Readiness {
    /// Overall readiness.
    pub status: ReadinessStatus,
    /// Results of the checks.
    pub checks: Checks,
}

/// Readiness of the api.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessStatus {
    /// The api can answer, and all that it depends on is available.
    Ready,
    /// The api can answer: it accepts and reads jobs, which may have to wait for what is missing.
    Degraded,
    /// The api cannot answer.
    NotReady,
}

/// Result of each check: `ok`, or what is wrong.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Checks {
    /// Temporal: the server, the namespace and its search attributes. Without it, the api cannot
    /// answer.
    pub temporal: String,
    /// Store of the outputs.
    pub storage: String,
    /// Workers that run workflows and submit requests to the provider.
    pub worker_generate: String,
    /// Workers that store outputs.
    pub worker_persist: String,
}
