//! Replicate's HTTP API, as its [OpenAPI description](https://replicate.com/docs/reference/http) and its behavior say, and
//! liberal where they leave room. Decisions are not made here: answers become [`Prediction`]s and [`ProviderError`]s.
//! Nothing is asked to `Prefer: wait`: a create call that stays open for long is one whose answer is easily lost.

mod wire;

use std::time::Duration;

use async_trait::async_trait;
use darkroom_workflows::{job::JobId, request::JobRequest};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value, json};
use url::Url;

use self::wire::{Answer, List, read, unavailable};
use crate::provider::{Prediction, Provider, ProviderError, Search, SubmitError};

/// How far the provider's clock may be behind ours.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(1);

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
    pub fn new(base: Url, token: String, public_url: Option<Url>) -> Result<Self, reqwest::Error> {
        let (base, public_url) = (as_directory(base), public_url.map(as_directory));
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("darkroom/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            base,
            token,
            public_url,
        })
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ProviderError> {
        let url = self
            .base
            .join(path)
            .map_err(|error| ProviderError::Rejected(error.to_string()))?;
        // A page's `next` is absolute: our token goes to nobody else.
        if url.origin() != self.base.origin() {
            return Err(ProviderError::Unavailable(
                "it links to another host".to_owned(),
            ));
        }
        Ok(self.http.request(method, url).bearer_auth(&self.token))
    }

    async fn call(&self, method: Method, path: &str) -> Result<Prediction, ProviderError> {
        let response = self
            .request(method, path)?
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(read::<Answer>(response).await?.into())
    }

    fn webhook(&self, job_id: &JobId) -> Option<Url> {
        self.public_url
            .as_ref()
            .and_then(|url| url.join(&format!("v1/webhooks/replicate/{job_id}")).ok())
    }

    fn submission(&self, job_id: &JobId, request: &JobRequest) -> (String, Value) {
        let model = &request.model;
        let (path, mut body) = if model.version().is_some() {
            (
                "predictions".to_owned(),
                json!({"version": model.to_string()}),
            )
        } else {
            let collection = if model.is_deployment() {
                "deployments"
            } else {
                "models"
            };
            (
                format!(
                    "{collection}/{}/{}/predictions",
                    model.owner(),
                    model.name()
                ),
                json!({}),
            )
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

    async fn submit(
        &self,
        job_id: &JobId,
        request: &JobRequest,
    ) -> Result<Prediction, SubmitError> {
        let (path, body) = self.submission(job_id, request);
        let request = self
            .request(Method::POST, &path)
            .map_err(SubmitError::Refused)?
            .json(&body);
        let response = request.send().await.map_err(|error| {
            let connected = !error.is_connect() && !error.is_builder();
            let error = unavailable(&error);
            if connected {
                SubmitError::Unanswered(error)
            } else {
                SubmitError::Refused(error)
            }
        })?;
        let status = response.status();
        match read::<Answer>(response).await {
            Ok(answer) => Ok(answer.into()),
            Err(ProviderError::NotFound) => Err(SubmitError::Refused(ProviderError::Rejected(
                "there is no such model or version".to_owned(),
            ))),
            Err(error) if status.is_client_error() => Err(SubmitError::Refused(error)),
            Err(error) if status.is_success() => Err(SubmitError::Unanswered(error)),
            Err(error) => Err(SubmitError::Doubtful(error)),
        }
    }

    async fn fetch(&self, prediction_id: &str) -> Result<Prediction, ProviderError> {
        self.call(Method::GET, &format!("predictions/{prediction_id}"))
            .await
    }

    async fn find(&self, job_id: &JobId, since: Timestamp) -> Result<Search, ProviderError> {
        if self.public_url.is_none() {
            return Ok(Search::CannotTell);
        }
        // The job's id tells, wherever our api is said to be by now.
        let is_ours = |webhook: &str| webhook.rsplit('/').next() == Some(job_id.as_str());
        let since = since - CLOCK_SKEW;
        let mut page = Some(format!("predictions?created_after={since}"));
        for _ in 0..MAX_PAGES {
            let Some(path) = page else {
                return Ok(Search::NotShown);
            };
            let request = self.request(Method::GET, &path)?;
            let list =
                read::<List>(request.send().await.map_err(|error| unavailable(&error))?).await?;
            for entry in list.results {
                // A list may leave out what a single answer has.
                let webhook_seen = match entry.webhook {
                    Some(webhook) => Some(webhook),
                    None => self.answer(&entry.id).await?.webhook,
                };
                if webhook_seen.as_deref().is_some_and(is_ours) {
                    return self.fetch(&entry.id).await.map(Search::Found);
                }
            }
            page = list.next;
        }
        Err(ProviderError::Unavailable(
            "its list of predictions is too long to search".to_owned(),
        ))
    }

    async fn cancel(&self, prediction_id: &str) -> Result<Prediction, ProviderError> {
        self.call(Method::POST, &format!("predictions/{prediction_id}/cancel"))
            .await
    }
}

impl Replicate {
    async fn answer(&self, prediction_id: &str) -> Result<Answer, ProviderError> {
        let request = self.request(Method::GET, &format!("predictions/{prediction_id}"))?;
        read(request.send().await.map_err(|error| unavailable(&error))?).await
    }
}

/// A base to which paths are joined, whatever it ends with.
fn as_directory(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
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

#[cfg(test)]
mod tests {
    use super::*;

    fn submission_of(request: Value) -> (String, Value) {
        let public_url = Some("https://darkroom.example".parse().unwrap());
        let replicate = Replicate::new(
            "http://localhost/v1".parse().unwrap(),
            "t".to_owned(),
            public_url,
        )
        .unwrap();
        let job_id = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap();
        replicate.submission(&job_id, &serde_json::from_value(request).unwrap())
    }

    #[test]
    fn a_version_is_named_in_the_body_and_a_model_in_the_path() {
        let (path, body) = submission_of(json!({"model": "acme/photo:abc", "prompt": "p"}));
        assert_eq!(
            (path.as_str(), &body["version"]),
            ("predictions", &json!("acme/photo:abc"))
        );
        let (path, body) = submission_of(json!({"model": "acme/photo", "prompt": "p"}));
        assert_eq!(
            (path.as_str(), body.get("version")),
            ("models/acme/photo/predictions", None)
        );
        let (path, _) = submission_of(json!({"model": "deployments/acme/app", "prompt": "p"}));
        assert_eq!(path, "deployments/acme/app/predictions");
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
