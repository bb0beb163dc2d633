//! Query parameters of lists: filters, page size and cursor.

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
    /// Number of entries on a page.
    PageSize(u8) 1..=100
}

/// Status that jobs are listed by. `pending` is missing: Temporal's visibility store does not
/// distinguish jobs that wait from those in progress.
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

/// Additional fields of each job in a list.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expansion {
    /// Prompt and outputs of each job.
    Media,
}

/// Query parameters of the list of jobs.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, PartialEq, Serialize)]
#[into_params(parameter_in = Query)]
pub struct ListJobs {
    /// Status of the jobs to list. Jobs that no worker has started yet count as `processing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ListedStatus>,
    /// Model of the jobs to list, exactly as it was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// Lower limit of the creation time of the jobs to list (RFC 3339), inclusive.
    #[serde(
        default,
        deserialize_with = "time",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_after: Option<Timestamp>,
    /// Upper limit of the creation time of the jobs to list (RFC 3339), exclusive.
    #[serde(
        default,
        deserialize_with = "time",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_before: Option<Timestamp>,
    /// Additional fields of each job: `media` adds the prompt and the outputs. With it, `limit` is
    /// at most 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expansion>,
    /// Page size; 20 if absent.
    #[serde(
        default,
        deserialize_with = "page_size",
        skip_serializing_if = "Option::is_none"
    )]
    pub limit: Option<PageSize>,
    /// Position to continue from: `next_cursor` of the previous page, with the same filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Query parameters of the list of a job's outputs.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, PartialEq, Serialize)]
#[into_params(parameter_in = Query)]
pub struct ListMedia {
    /// Page size; 100 if absent.
    #[serde(
        default,
        deserialize_with = "page_size",
        skip_serializing_if = "Option::is_none"
    )]
    pub limit: Option<PageSize>,
    /// Position to continue from: `next_cursor` of the previous page, or the job's
    /// `media_next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Parses a time. The parser's own messages mention its internals, and are replaced.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = text.parse().map(Some);
    time.map_err(|_| D::Error::custom("must be a time such as 2026-11-24T10:00:00Z"))
}

/// Parses a page size from text, as numbers in a query are text.
fn page_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PageSize>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}
