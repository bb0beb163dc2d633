//! Webhooks that Replicate sends: reports that a prediction has ended, signed according to Standard
//! Webhooks. <https://replicate.com/docs/topics/webhooks/verify-webhook>

use darkroom_workflows::{
    job::{PredictionId, PredictionStatus},
    webhook_secret::{Signed, WebhookSecret},
};
use jiff::Timestamp;
use serde::Deserialize;

use super::wire;
use crate::lenient;

/// Verified report about a prediction. It only causes a poll: the state comes from the API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Id of the prediction.
    pub prediction_id: PredictionId,
    /// Status of the prediction; absent if its name is unknown.
    pub status: Option<PredictionStatus>,
    /// Time at which the provider accepted the prediction.
    pub created_at: Option<Timestamp>,
    /// Time at which the prediction ended.
    pub completed_at: Option<Timestamp>,
}

/// Error of a report that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The signature is not valid, or its timestamp is not recent.
    #[error("the report's signature is invalid or too old")]
    NotGenuine,
    /// The report is genuine, but cannot be parsed.
    #[error("the report cannot be parsed: {0}")]
    Unreadable(String),
}

#[derive(Deserialize)]
struct Body {
    id: PredictionId,
    #[serde(default, deserialize_with = "lenient::string")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient::time")]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient::time")]
    completed_at: Option<Timestamp>,
}

/// Verifies a report, and parses it.
///
/// # Errors
/// If the report is not genuine, or cannot be parsed.
pub fn read(
    secret: &WebhookSecret,
    signed: Signed<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<Report, ReportError> {
    if !secret.verifies(signed, body, now) {
        return Err(ReportError::NotGenuine);
    }
    let body: Body =
        lenient::from_slice(body).map_err(|error| ReportError::Unreadable(error.to_string()))?;
    Ok(Report {
        prediction_id: body.id,
        status: body.status.as_deref().and_then(wire::parse_status),
        created_at: body.created_at,
        completed_at: body.completed_at,
    })
}
