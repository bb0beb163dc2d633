//! Format of Replicate's predictions, and their conversion. A field that cannot be parsed costs
//! that field, not the prediction. Refusals are in `response`.

use darkroom_workflows::job::{
    Prediction, PredictionId, PredictionRef, PredictionStatus, ProviderName, ProviderState,
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::output::Found;
use crate::lenient;

/// Retention of the files of a prediction that was made through the API: one hour after its end.
/// <https://replicate.com/docs/topics/predictions/data-retention>
const RETENTION: SignedDuration = SignedDuration::from_hours(1);

/// Limit of the provider's messages that are kept, in characters.
const MAX_MESSAGE: usize = 2000;

/// Prediction as Replicate sends it. Fields that are not used are omitted; all but the id may be
/// missing.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) id: PredictionId,
    #[serde(default, deserialize_with = "lenient::string")]
    status: Option<String>,
    #[serde(default)]
    output: Found,
    #[serde(default)]
    error: Value,
    #[serde(default, deserialize_with = "lenient::flag")]
    data_removed: bool,
    #[serde(default, deserialize_with = "lenient::time")]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient::time")]
    started_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient::time")]
    completed_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient::object")]
    metrics: Map<String, Value>,
    #[serde(default, deserialize_with = "lenient::string")]
    pub(super) webhook: Option<String>,
}

/// Page of the list of predictions.
#[derive(Deserialize)]
pub(super) struct List {
    #[serde(default, deserialize_with = "lenient::string")]
    pub(super) next: Option<String>,
    pub(super) results: Vec<Entry>,
}

/// Entry of the list, which may omit fields of a single prediction.
#[derive(Clone, Deserialize)]
pub(super) struct Entry {
    pub(super) id: PredictionId,
    #[serde(default, deserialize_with = "lenient::string")]
    pub(super) webhook: Option<String>,
}

impl From<Answer> for Prediction {
    fn from(answer: Answer) -> Self {
        let (status, unknown) = status(&answer);
        let error = match answer.error {
            Value::Null => unknown,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        let prediction = PredictionRef::new(ProviderName::Replicate, answer.id);
        let state = ProviderState {
            created_at: answer.created_at,
            started_at: answer.started_at,
            completed_at: answer.completed_at,
            expires_at: answer
                .completed_at
                .and_then(|at| at.checked_add(RETENTION).ok()),
            error: error.map(truncate),
            metrics: answer.metrics,
            output: Some(answer.output.rest).filter(|rest| !rest.is_null()),
            ..ProviderState::new(prediction, status)
        };
        Self::new(state, answer.output.outputs, answer.data_removed)
    }
}

/// Status of a prediction. An unknown one counts as `processing` until there is a time of
/// completion.
fn status(answer: &Answer) -> (PredictionStatus, Option<String>) {
    let name = answer.status.as_deref().unwrap_or_default();
    if let Some(status) = parse_status(name) {
        return (status, None);
    }
    if answer.completed_at.is_none() {
        return (PredictionStatus::Processing, None);
    }
    let said = Some(format!("it ended with the unknown status {name:?}"));
    if answer.output.is_some {
        (PredictionStatus::Succeeded, said)
    } else {
        (PredictionStatus::Failed, said)
    }
}

/// Parses Replicate's name of a status.
pub(super) fn parse_status(name: &str) -> Option<PredictionStatus> {
    serde_json::from_value(name.into()).ok()
}

/// Cuts a message of the provider at the limit.
pub(super) fn truncate(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prediction(json: Value) -> Prediction {
        serde_json::from_value::<Answer>(json).unwrap().into()
    }

    #[test]
    fn unreadable_fields_are_dropped() {
        let sparse = prediction(json!({"id": "x", "status": "aborted", "metrics": null}));
        assert_eq!(sparse.state.status, PredictionStatus::Aborted);
        assert_eq!(sparse.state.expires_at, None);

        let odd = prediction(json!({
            "id": "x", "status": "booting", "metrics": [1], "created_at": "2026-11-26T06:00:00", "started_at": 7,
            "data_removed": "no", "webhook": 1, "error": {"code": 3},
        }));
        assert_eq!(odd.state.status, PredictionStatus::Processing);
        assert_eq!(odd.state.created_at, "2026-11-26T06:00:00Z".parse().ok());
        assert_eq!(odd.state.started_at, None);
        assert_eq!(odd.state.error.as_deref(), Some("{\"code\":3}"));

        let at = "2026-11-26T06:00:00Z";
        let ended = |output: Value| {
            prediction(
                json!({"id": "x", "status": "finished", "completed_at": at, "output": output}),
            )
            .state
            .status
        };
        assert_eq!(ended(json!("https://a/1")), PredictionStatus::Succeeded);
        let long = "a".repeat(70_000);
        assert_eq!(ended(json!(long)), PredictionStatus::Succeeded);
        assert_eq!(ended(Value::Null), PredictionStatus::Failed);
    }
}
