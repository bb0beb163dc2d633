//! How the api itself stands.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema::example;

/// That the process answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("health.json")))]
pub struct Health {
    /// `ok`.
    pub status: Cow<'static, str>,
}

impl Health {
    /// It does.
    pub const OK: Self = Self {
        status: Cow::Borrowed("ok"),
    };
}

/// Whether the api can answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("readiness.json")))]
pub struct Readiness {
    /// `ready` or `not ready`.
    pub status: String,
    /// What was looked at.
    pub checks: Checks,
}

/// What was looked at: of each, `ok` or what is wrong.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Checks {
    /// Where jobs run.
    pub temporal: String,
    /// Where outputs are kept.
    pub storage: String,
    /// Who buys.
    pub worker_generate: String,
    /// Who stores.
    pub worker_persist: String,
}
