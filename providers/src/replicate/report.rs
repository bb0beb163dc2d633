//! What Replicate sends us: a prediction has ended, signed as Standard Webhooks has it.
//! <https://replicate.com/docs/topics/webhooks/verify-webhook>

use darkroom_workflows::{
    job::{PredictionId, PredictionStatus},
    webhook_secret::{Signed, WebhookSecret},
};
use jiff::Timestamp;
use serde::Deserialize;

use super::wire;
use crate::lenient;

/// What a genuine report says of its prediction. It only says when to look.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Which prediction.
    pub prediction_id: PredictionId,
    /// How it stands; absent where it is a word that we do not know.
    pub status: Option<PredictionStatus>,
    /// When the provider took it.
    pub created_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// Why a report is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not signed with our secret, or not just now.
    #[error("the report is not signed by the provider, or not just now")]
    NotGenuine,
    /// It is the provider's, and cannot be read.
    #[error("the report makes no sense: {0}")]
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

/// Reads a report, if it is genuine.
///
/// # Errors
/// If it is not, or cannot be read.
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
