//! What Replicate's answers look like, and what they mean to us.

use std::time::Duration;

use darkroom_workflows::job::PredictionStatus;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::provider::{Prediction, ProviderError};
use darkroom_workflows::failure::chain;

/// The files of a prediction that was made through the API are removed an hour after it ended.
/// <https://replicate.com/docs/topics/predictions/data-retention>
const RETENTION: SignedDuration = SignedDuration::from_hours(1);

/// How long to wait where the provider limits our rate and does not say for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(10);

/// The longest that we wait because a provider says so.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

/// The most of an answer that we read: inline outputs are the largest part of one.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A prediction as Replicate writes it. Fields that we do not read are left out; any may be missing.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) id: String,
    status: PredictionStatus,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    data_removed: bool,
    #[serde(default)]
    completed_at: Option<Timestamp>,
    #[serde(default)]
    metrics: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) webhook: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct List {
    #[serde(default)]
    pub(super) next: Option<String>,
    pub(super) results: Vec<Entry>,
}

#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    #[serde(default)]
    pub(super) webhook: Option<String>,
}

impl From<Answer> for Prediction {
    fn from(answer: Answer) -> Self {
        let mut outputs = Vec::new();
        collect_files(&answer.output, &mut outputs);
        let error = match answer.error {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        Self {
            id: answer.id,
            status: answer.status,
            outputs,
            error,
            data_removed: answer.data_removed,
            expires_at: answer.completed_at.map(|at| at + RETENTION),
            metrics: answer.metrics.unwrap_or_default(),
        }
    }
}

/// Files may be anywhere in an output: a string, a list, an object, nested. Other strings are text.
fn collect_files(output: &Value, files: &mut Vec<String>) {
    match output {
        Value::String(text)
            if ["https:", "http:", "data:"]
                .iter()
                .any(|scheme| text.starts_with(scheme)) =>
        {
            files.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect_files(item, files)),
        Value::Object(fields) => fields
            .values()
            .for_each(|field| collect_files(field, files)),
        _ => {}
    }
}

pub(super) async fn read<T: for<'de> Deserialize<'de>>(
    response: Response,
) -> Result<T, ProviderError> {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = bounded_body(response).await?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| {
            ProviderError::Unavailable(format!("its answer makes no sense: {error}"))
        });
    }
    let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
    let detail = problem.detail.unwrap_or_else(|| status.to_string());
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ProviderError::Unauthorized(detail),
        StatusCode::PAYMENT_REQUIRED => ProviderError::InsufficientCredit(detail),
        StatusCode::NOT_FOUND => ProviderError::NotFound,
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds: Option<u64> = problem.retry_after.or(retry_after);
            let retry_after = seconds.map_or(DEFAULT_RETRY_AFTER, Duration::from_secs);
            ProviderError::RateLimited {
                retry_after: retry_after.clamp(Duration::from_secs(1), MAX_RETRY_AFTER),
            }
        }
        status if status.is_client_error() => ProviderError::Rejected(detail),
        _ => ProviderError::Unavailable(format!("{status}: {detail}")),
    })
}

/// The body of an error. <https://replicate.com/docs/reference/http#errors>
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    retry_after: Option<u64>,
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unavailable(&error))?
    {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(ProviderError::Unavailable(format!(
                "its answer is over {MAX_BODY} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(super) fn unavailable(error: &reqwest::Error) -> ProviderError {
    ProviderError::Unavailable(chain(error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_found_wherever_they_are() {
        for (output, expected) in [
            (json!(null), vec![]),
            (json!("just text"), vec![]),
            (json!("https://a/1"), vec!["https://a/1"]),
            (
                json!(["https://a/1", "caption", "https://a/2"]),
                vec!["https://a/1", "https://a/2"],
            ),
            (
                json!({"a": {"b": ["data:text/plain,x"]}, "n": 3}),
                vec!["data:text/plain,x"],
            ),
        ] {
            let mut files = Vec::new();
            collect_files(&output, &mut files);
            assert_eq!(files, expected, "{output}");
        }
    }

    #[test]
    fn a_sparse_answer_reads() {
        let answer: Answer =
            serde_json::from_value(json!({"id": "x", "status": "aborted", "metrics": null}))
                .unwrap();
        let prediction = Prediction::from(answer);
        assert_eq!(prediction.status, PredictionStatus::Aborted);
        assert_eq!(prediction.expires_at, None);
    }
}
