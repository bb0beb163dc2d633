//! How the api itself stands.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema::example;

/// That the process answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("health.json")))]
pub struct Health {
    /// `ok`.
    pub status: String,
}

/// Whether the api can answer, and what else it looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("readiness.json")))]
pub struct Readiness {
    /// Whether it can.
    pub status: ReadinessStatus,
    /// What was looked at.
    pub checks: Checks,
}

/// Whether the api can answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadinessStatus {
    /// It can, and all else is there.
    Ready,
    /// It can: jobs are accepted and read. They may have to wait for what is missing.
    Degraded,
    /// It cannot.
    NotReady,
}

/// What was looked at: of each, `ok` or what is wrong.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Checks {
    /// Where jobs run: the server, the namespace and its search attributes. Without it nothing can be answered.
    pub temporal: String,
    /// Where outputs are kept.
    pub storage: String,
    /// Who runs workflows, and buys.
    pub worker_generate: String,
    /// Who stores outputs.
    pub worker_persist: String,
}
