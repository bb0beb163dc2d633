//! Replicate's HTTP API, as its [OpenAPI description](https://replicate.com/docs/reference/http) and its behavior say, and
//! liberal where they leave room. Decisions are not made here: answers become [`Prediction`]s and [`ProviderError`]s.

use std::time::Duration;

use async_trait::async_trait;
use darkroom_workflows::{
    job::{JobId, PredictionStatus},
    request::JobRequest,
};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::provider::{Prediction, Provider, ProviderError, SubmitError};
use crate::failure::chain;

/// The files of a prediction that was made through the API are removed an hour after it ended.
/// <https://replicate.com/docs/topics/predictions/data-retention>
const RETENTION: SignedDuration = SignedDuration::from_hours(1);

/// How long to wait where the provider limits our rate and does not say for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(10);

/// The longest that we wait because a provider says so.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

/// The most of an answer that we read: inline outputs are the largest part of one.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// How far back the list is read when a prediction is looked for: pages of 100.
const MAX_PAGES: usize = 20;

/// A client for Replicate or for a service that speaks its contract.
pub struct Replicate {
    http: Client,
    base: Url,
    token: String,
    public_url: Option<Url>,
}

impl Replicate {
    /// A client for the API at `base` (which includes `/v1`). Predictions call back below `public_url`, if there is one;
    /// the address also tells which job a prediction belongs to.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up.
    pub fn new(mut base: Url, token: String, public_url: Option<Url>) -> Result<Self, reqwest::Error> {
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("darkroom/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, base, token, public_url })
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ProviderError> {
        let url = self.base.join(path).map_err(|error| ProviderError::Rejected(error.to_string()))?;
        // A page's `next` is absolute: our token goes to nobody else.
        if url.origin() != self.base.origin() {
            return Err(ProviderError::Unavailable("it links to another host".to_owned()));
        }
        Ok(self.http.request(method, url).bearer_auth(&self.token))
    }

    async fn call(&self, method: Method, path: &str) -> Result<Prediction, ProviderError> {
        let response = self.request(method, path)?.send().await.map_err(|error| unavailable(&error))?;
        Ok(read::<Answer>(response).await?.into())
    }

    fn webhook(&self, job_id: &JobId) -> Option<Url> {
        self.public_url.as_ref().and_then(|url| url.join(&format!("v1/webhooks/replicate/{job_id}")).ok())
    }

    fn submission(&self, job_id: &JobId, request: &JobRequest) -> (String, Value) {
        let model = &request.model;
        let (path, mut body) = match model.version() {
            Some(_) => ("predictions".to_owned(), json!({"version": model.to_string()})),
            None => (format!("models/{}/{}/predictions", model.owner(), model.name()), json!({})),
        };
        body["input"] = Value::Object(model_input(request));
        if let Some(webhook) = self.webhook(job_id) {
            body["webhook"] = webhook.as_str().into();
            body["webhook_events_filter"] = json!(["completed"]);
        }
        (path, body)
    }
}

#[async_trait]
impl Provider for Replicate {
    fn name(&self) -> &'static str {
        "replicate"
    }

    async fn submit(&self, job_id: &JobId, request: &JobRequest) -> Result<Prediction, SubmitError> {
        let (path, body) = self.submission(job_id, request);
        let request = self.request(Method::POST, &path).map_err(SubmitError::Refused)?.json(&body);
        let response = request.send().await.map_err(|error| {
            let connected = !error.is_connect() && !error.is_builder();
            let error = unavailable(&error);
            if connected { SubmitError::Unanswered(error) } else { SubmitError::Refused(error) }
        })?;
        let status = response.status();
        match read::<Answer>(response).await {
            Ok(answer) => Ok(answer.into()),
            Err(ProviderError::NotFound) => {
                Err(SubmitError::Refused(ProviderError::Rejected("there is no such model or version".to_owned())))
            }
            Err(error) if status.is_client_error() => Err(SubmitError::Refused(error)),
            Err(error) if status.is_success() => Err(SubmitError::Unanswered(error)),
            Err(error) => Err(SubmitError::Doubtful(error)),
        }
    }

    async fn fetch(&self, prediction_id: &str) -> Result<Prediction, ProviderError> {
        self.call(Method::GET, &format!("predictions/{prediction_id}")).await
    }

    async fn find(&self, job_id: &JobId, since: Timestamp) -> Result<Option<Prediction>, ProviderError> {
        let Some(webhook) = self.webhook(job_id) else { return Ok(None) };
        // The provider's clock may be behind ours.
        let since = since - SignedDuration::from_mins(5);
        let mut page = Some(format!("predictions?created_after={since}"));
        for _ in 0..MAX_PAGES {
            let Some(path) = page else { return Ok(None) };
            let request = self.request(Method::GET, &path)?;
            let list = read::<List>(request.send().await.map_err(|error| unavailable(&error))?).await?;
            for entry in list.results {
                // A list may leave out what a single answer has.
                let webhook_seen = match entry.webhook {
                    Some(webhook) => Some(webhook),
                    None => self.answer(&entry.id).await?.webhook,
                };
                if webhook_seen.as_deref() == Some(webhook.as_str()) {
                    return self.fetch(&entry.id).await.map(Some);
                }
            }
            page = list.next;
        }
        Err(ProviderError::Unavailable("its list of predictions is too long to search".to_owned()))
    }

    async fn cancel(&self, prediction_id: &str) -> Result<Prediction, ProviderError> {
        self.call(Method::POST, &format!("predictions/{prediction_id}/cancel")).await
    }
}

impl Replicate {
    async fn answer(&self, prediction_id: &str) -> Result<Answer, ProviderError> {
        let request = self.request(Method::GET, &format!("predictions/{prediction_id}"))?;
        read(request.send().await.map_err(|error| unavailable(&error))?).await
    }
}

/// The inputs as the model gets them: the caller's own, and the named ones over them. A model of one output may not know
/// `num_outputs` at all, so 1 goes unsaid.
fn model_input(request: &JobRequest) -> Map<String, Value> {
    let mut input = request.input.as_map().clone();
    input.insert("prompt".to_owned(), request.prompt.as_str().into());
    if request.num_outputs.get() > 1 {
        input.insert("num_outputs".to_owned(), request.num_outputs.get().into());
    }
    if let Some(seed) = request.seed {
        input.insert("seed".to_owned(), seed.into());
    }
    if let Some(format) = request.output_format {
        input.insert("output_format".to_owned(), json!(format));
    }
    input
}

/// A prediction as Replicate writes it. Fields that we do not read are left out; any may be missing.
#[derive(Deserialize)]
struct Answer {
    id: String,
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
    webhook: Option<String>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    next: Option<String>,
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    webhook: Option<String>,
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
        Value::String(text) if ["https:", "http:", "data:"].iter().any(|scheme| text.starts_with(scheme)) => {
            files.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect_files(item, files)),
        Value::Object(fields) => fields.values().for_each(|field| collect_files(field, files)),
        _ => {}
    }
}

async fn read<T: for<'de> Deserialize<'de>>(response: Response) -> Result<T, ProviderError> {
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = bounded_body(response).await?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|error| ProviderError::Unavailable(format!("its answer makes no sense: {error}")));
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
            ProviderError::RateLimited { retry_after: retry_after.clamp(Duration::from_secs(1), MAX_RETRY_AFTER) }
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
    while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(ProviderError::Unavailable(format!("its answer is over {MAX_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unavailable(error: &reqwest::Error) -> ProviderError {
    ProviderError::Unavailable(chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_wherever_they_are() {
        for (output, expected) in [
            (json!(null), vec![]),
            (json!("just text"), vec![]),
            (json!("https://a/1"), vec!["https://a/1"]),
            (json!(["https://a/1", "caption", "https://a/2"]), vec!["https://a/1", "https://a/2"]),
            (json!({"a": {"b": ["data:text/plain,x"]}, "n": 3}), vec!["data:text/plain,x"]),
        ] {
            let mut files = Vec::new();
            collect_files(&output, &mut files);
            assert_eq!(files, expected, "{output}");
        }
    }

    #[test]
    fn a_sparse_answer_reads() {
        let answer: Answer = serde_json::from_value(json!({"id": "x", "status": "aborted", "metrics": null})).unwrap();
        let prediction = Prediction::from(answer);
        assert_eq!(prediction.status, PredictionStatus::Aborted);
        assert_eq!(prediction.expires_at, None);
    }

    fn submission_of(request: Value) -> (String, Value) {
        let public_url = Some("https://darkroom.example".parse().unwrap());
        let replicate = Replicate::new("http://localhost/v1".parse().unwrap(), "t".to_owned(), public_url).unwrap();
        let job_id = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap();
        replicate.submission(&job_id, &serde_json::from_value(request).unwrap())
    }

    #[test]
    fn a_version_is_named_in_the_body_and_a_model_in_the_path() {
        let (path, body) = submission_of(json!({"model": "acme/photo:abc", "prompt": "p"}));
        assert_eq!((path.as_str(), &body["version"]), ("predictions", &json!("acme/photo:abc")));
        let (path, body) = submission_of(json!({"model": "acme/photo", "prompt": "p"}));
        assert_eq!((path.as_str(), body.get("version")), ("models/acme/photo/predictions", None));
        assert_eq!(
            body["webhook"],
            "https://darkroom.example/v1/webhooks/replicate/01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1"
        );
    }

    #[test]
    fn named_inputs_win_over_free_ones() {
        let (_, body) = submission_of(json!({
            "model": "acme/photo", "prompt": "named", "num_outputs": 3, "seed": 7, "output_format": "webp",
            "input": {"prompt": "free", "steps": 20},
        }));
        assert_eq!(
            body["input"],
            json!({"prompt": "named", "steps": 20, "num_outputs": 3, "seed": 7, "output_format": "webp"})
        );
    }
}
