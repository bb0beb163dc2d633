//! Reading of Replicate's answers: a body of bounded size, or what a refusal means. The format of a
//! prediction is in `wire`.

use std::time::{Duration, SystemTime};

use darkroom_types::retry_after::parse_retry_after;
use darkroom_workflows::failure::chain;
use reqwest::{Response, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::wire::truncate;
use crate::{lenient, provider::ProviderError};

/// Backoff after a rate limit without a `Retry-After`. It is too short to count as the rate that
/// the provider allows.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(4);

/// Longest `Retry-After` that is honored.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

/// Limit of an answer's size in bytes: inline outputs are the largest part of one.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Size in bytes above which reading an answer requires a permit of [`LARGE_BODY_PERMITS`].
const SMALL_BODY: usize = 1024 * 1024;

/// Origin of an error answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AnsweredBy {
    /// The provider: JSON of its own, or a success.
    Provider,
    /// A gateway before the provider, which may have forwarded the request or not.
    Gateway,
}

/// Answer other than the expected one.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) by: AnsweredBy,
    pub(super) error: ProviderError,
}

/// Reads an answer and parses it.
pub(super) async fn read<T: for<'de> Deserialize<'de>>(response: Response) -> Result<T, Refusal> {
    let status = response.status();
    let body = body(response).await?;
    lenient::from_slice(&body).map_err(|error| Refusal {
        status,
        by: AnsweredBy::Provider,
        error: ProviderError::Unreadable(error.to_string()),
    })
}

/// Reads the body of a successful answer.
pub(super) async fn body(response: Response) -> Result<Vec<u8>, Refusal> {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()));
    let body = bounded_body(response).await.map_err(|error| Refusal {
        status,
        by: AnsweredBy::Gateway,
        error,
    })?;
    if status.is_success() {
        return Ok(body);
    }
    let problem = lenient::from_slice::<Problem>(&body)
        .ok()
        .filter(Problem::is_the_providers);
    Err(Refusal {
        status,
        by: match &problem {
            Some(_) => AnsweredBy::Provider,
            None => AnsweredBy::Gateway,
        },
        error: refusal(status, &problem.unwrap_or_default(), retry_after),
    })
}

fn refusal(status: StatusCode, problem: &Problem, retry_after: Option<Duration>) -> ProviderError {
    let detail = problem.to_text().unwrap_or_else(|| status.to_string());
    match status {
        StatusCode::UNAUTHORIZED => ProviderError::Unauthorized(detail),
        StatusCode::PAYMENT_REQUIRED => ProviderError::InsufficientCredit(detail),
        StatusCode::NOT_FOUND => ProviderError::NotFound,
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds = problem.retry_after.as_u64();
            let retry_after = seconds.map(Duration::from_secs).or(retry_after);
            let retry_after = retry_after.unwrap_or(DEFAULT_RETRY_AFTER);
            ProviderError::RateLimited {
                retry_after: retry_after.clamp(Duration::from_secs(1), MAX_RETRY_AFTER),
            }
        }
        status if status.is_client_error() => ProviderError::Rejected(detail),
        _ => ProviderError::Unavailable(format!("{status}: {detail}")),
    }
}

/// Body of an error. <https://replicate.com/docs/reference/http#errors>
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    title: Value,
    #[serde(default)]
    detail: Value,
    #[serde(default)]
    status: Value,
    #[serde(default)]
    retry_after: Value,
}

impl Problem {
    fn is_the_providers(&self) -> bool {
        [&self.title, &self.detail, &self.status]
            .iter()
            .any(|value| !value.is_null())
    }

    /// Message of the error: a text, or a list of fields with their errors.
    fn to_text(&self) -> Option<String> {
        let text = match &self.detail {
            Value::Array(items) => {
                let items: Vec<_> = items.iter().filter_map(field).collect();
                items.join("; ")
            }
            Value::String(text) => text.clone(),
            _ => self.title.as_str().unwrap_or_default().to_owned(),
        };
        (!text.is_empty()).then(|| truncate(text))
    }
}

/// Formats the error of a field: `{"loc": ["body", "input", "seed"], "msg": "must be an integer"}`,
/// or just a text.
fn field(item: &Value) -> Option<String> {
    let said = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let message = item.get("msg").or(item.get("description")).and_then(said);
    let place = match item.get("loc").or(item.get("field")) {
        Some(Value::Array(path)) => {
            let path: Vec<_> = path.iter().filter_map(said).collect();
            Some(path.join("."))
        }
        Some(place) => said(place),
        None => None,
    };
    match (place, message) {
        (Some(place), Some(message)) => Some(format!("{place}: {message}")),
        (Some(text), None) | (None, Some(text)) => Some(text),
        (None, None) => said(item),
    }
}

/// Permit to read a large answer: one at a time, so that inline outputs of many jobs do not add up.
static LARGE_BODY_PERMITS: Semaphore = Semaphore::const_new(1);

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, ProviderError> {
    let announced = response.content_length().unwrap_or_default();
    if announced > MAX_BODY as u64 {
        return Err(ProviderError::TooLarge(MAX_BODY));
    }
    let mut permit = None;
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unavailable(&error))?
    {
        let length = body.len() + chunk.len();
        if length > MAX_BODY {
            return Err(ProviderError::TooLarge(MAX_BODY));
        }
        if length > SMALL_BODY && permit.is_none() {
            permit = LARGE_BODY_PERMITS.acquire().await.ok();
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
    fn problem_details_become_text() {
        for (body, expected) in [
            (json!({"detail": "no"}), Some("no")),
            (json!({"title": "Invalid", "detail": null}), Some("Invalid")),
            (
                json!({"detail": [{"loc": ["body", "input", "seed"], "msg": "must be whole"}, "and more"]}),
                Some("body.input.seed: must be whole; and more"),
            ),
            (
                json!({"detail": [{"field": "input", "description": "is required"}]}),
                Some("input: is required"),
            ),
            (json!({"status": 500}), None),
        ] {
            let problem: Problem = serde_json::from_value(body.clone()).unwrap();
            assert!(problem.is_the_providers());
            assert_eq!(problem.to_text().as_deref(), expected, "{body}");
        }
        assert!(!Problem::default().is_the_providers());
    }
}
