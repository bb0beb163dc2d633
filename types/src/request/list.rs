//! How lists are asked for: the parameters of their queries.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, SchemaType, Type},
    },
};

use super::Model;
use crate::{Invalid, bounded::bounded, status::JobStatus};

bounded! {
    /// How many at a time.
    PageSize(u8) 1..=100
}

/// A status that jobs are listed by: Temporal knows of those that wait no more than that they have not ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListedStatus(JobStatus);

impl ListedStatus {
    const ALL: [JobStatus; 5] = [
        JobStatus::Processing,
        JobStatus::Completed,
        JobStatus::Partial,
        JobStatus::Failed,
        JobStatus::Canceled,
    ];
}

impl TryFrom<String> for ListedStatus {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let found = Self::ALL
            .into_iter()
            .find(|status| status.to_string() == text);
        let rule = "must be processing, completed, partial, failed or canceled";
        found.map(Self).ok_or_else(|| Invalid(rule.to_owned()))
    }
}

impl From<ListedStatus> for String {
    fn from(status: ListedStatus) -> Self {
        status.to_string()
    }
}

impl fmt::Display for ListedStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl PartialSchema for ListedStatus {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .enum_values(Some(Self::ALL.map(|status| status.to_string())))
            .into()
    }
}

impl ToSchema for ListedStatus {}

/// What is read of each job beside what a list knows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expansion {
    /// Its prompt and its outputs.
    Media,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, PartialEq, Serialize)]
#[into_params(parameter_in = Query)]
pub struct ListJobs {
    /// Only jobs that stand so. Jobs that no worker has taken up yet count as `processing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ListedStatus>,
    /// Only jobs of this model: exactly as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// Only jobs that were created at this time (RFC 3339) or later.
    #[serde(
        default,
        deserialize_with = "time",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_after: Option<Timestamp>,
    /// Only jobs that were created before this time.
    #[serde(
        default,
        deserialize_with = "time",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_before: Option<Timestamp>,
    /// `media` to have the prompt and the outputs of each as well: of 50 jobs at a time at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expansion>,
    /// How many at a time: 20 if not said.
    #[serde(
        default,
        deserialize_with = "page_size",
        skip_serializing_if = "Option::is_none"
    )]
    pub limit: Option<PageSize>,
    /// Where to go on: `next_cursor` of the page before, with the same filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which outputs of a job to list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, PartialEq, Serialize)]
#[into_params(parameter_in = Query)]
pub struct ListMedia {
    /// How many at a time: 100 if not said.
    #[serde(
        default,
        deserialize_with = "page_size",
        skip_serializing_if = "Option::is_none"
    )]
    pub limit: Option<PageSize>,
    /// Where to go on: `next_cursor` of the page before, or the job's `media_next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The parser's own words speak of its insides.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = text.parse().map(Some);
    time.map_err(|_| D::Error::custom("must be a time such as 2026-11-24T10:00:00Z"))
}

/// In a query, numbers are text.
fn page_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PageSize>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}
