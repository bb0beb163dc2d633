//! Replicate's HTTP API, according to its [OpenAPI
//! description](https://replicate.com/docs/reference/http) and its observed behavior, and lenient
//! where these leave room. Decisions are not made here: answers become [`Prediction`]s and
//! [`ProviderError`]s. No request has `Prefer: wait`: the longer a create call stays open, the more
//! easily its answer is lost.
//!
//! - `submission`: the paid call; `gated_body`: its body, which waits for the gate
//! - `search`: search for a submission in doubt, whose answer is lost
//! - [`report`]: webhooks that Replicate sends
//! - `response`: reading of answers; `wire`: format of predictions; `output`: the files in them

pub mod report;

mod gated_body;
mod output;
mod response;
mod search;
mod submission;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use darkroom_workflows::{
    contract::collect::PollReason,
    job::{Doubt, JobId, Prediction, PredictionId, PredictionRef, ProviderName, SubmissionId},
};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use self::{
    response::{AnsweredBy, Refusal, unavailable},
    search::Searches,
    wire::Answer,
};
use crate::{
    clock::ProviderClock,
    lenient,
    provider::{Gate, Provider, ProviderError, Search, Submission, SubmitError},
};

/// Timeout of one call, except the paid one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Client of Replicate, or of a service that is compatible with its API.
pub struct Replicate {
    http: Client,
    /// HTTP client of the paid calls: each has a connection of its own.
    submissions: Client,
    base: Url,
    token: SecretString,
    public_url: Option<Url>,
    clock: ProviderClock,
    searches: Searches,
}

impl Replicate {
    /// Builds a client of the API at `base` (which includes `/v1`). Predictions report to a webhook
    /// below `public_url`, if there is one; that URL also identifies the job and the submission of
    /// a prediction.
    ///
    /// # Errors
    /// If the HTTP clients cannot be set up.
    pub fn new(
        base: Url,
        token: SecretString,
        public_url: Option<Url>,
    ) -> Result<Self, reqwest::Error> {
        let (base, public_url) = (
            with_trailing_slash(base),
            public_url.map(with_trailing_slash),
        );
        let client = || {
            Client::builder()
                .connect_timeout(Duration::from_secs(5))
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("darkroom/", env!("CARGO_PKG_VERSION")))
        };
        let each_alone = |builder: ClientBuilder| {
            builder
                .http1_only()
                .pool_max_idle_per_host(0)
                .retry(reqwest::retry::never())
        };
        Ok(Self {
            http: client().timeout(TIMEOUT).build()?,
            submissions: each_alone(client()).build()?,
            base,
            token,
            public_url,
            clock: ProviderClock::new(),
            searches: Searches::new(),
        })
    }

    fn url(&self, path: &str) -> Result<Url, ProviderError> {
        let url = self
            .base
            .join(path)
            .map_err(|error| ProviderError::Rejected(error.to_string()))?;
        // A page's `next` is an absolute URL: our token must not go to another host.
        if url.origin() != self.base.origin() {
            return Err(ProviderError::Unavailable(
                "it links to another host".to_owned(),
            ));
        }
        Ok(url)
    }

    fn prediction_url(&self, id: &PredictionId, further: &[&str]) -> Result<Url, ProviderError> {
        let mut url = self.url("predictions")?;
        url.path_segments_mut()
            .map_err(|()| ProviderError::Rejected("its base URL cannot have paths".to_owned()))?
            .push(id.as_str())
            .extend(further);
        Ok(url)
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http
            .request(method, url)
            .bearer_auth(self.token.expose_secret())
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ProviderError> {
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        self.clock.observe(response.headers(), Timestamp::now());
        Ok(response)
    }

    async fn call<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        url: Url,
    ) -> Result<T, ProviderError> {
        let response = self.send(self.request(method, url)).await?;
        response::read(response).await.map_err(unpaid_call_error)
    }

    /// URL of the webhook that a submission's prediction reports to.
    fn webhook(&self, job_id: &JobId, submission_id: &SubmissionId) -> Option<Url> {
        let path = format!(
            "v1/webhooks/{}/{job_id}/{submission_id}",
            ProviderName::Replicate
        );
        self.public_url.as_ref()?.join(&path).ok()
    }
}

#[async_trait]
impl Provider for Replicate {
    fn name(&self) -> ProviderName {
        ProviderName::Replicate
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.clock.skew()
    }

    fn poll_interval(&self, occasion: PollReason, poll: u32) -> Duration {
        let pace: &[u64] = match occasion {
            // The answer may come from a replica that lags behind.
            PollReason::Reported => &[2, 5, 15, 20, 40, 60],
            PollReason::Polled => &[5, 10, 20, 40, 60],
            PollReason::BesideReports => &[10 * 60, 20 * 60, 30 * 60],
        };
        let position = usize::try_from(poll.saturating_sub(1)).unwrap_or(usize::MAX);
        Duration::from_secs(pace[position.min(pace.len() - 1)])
    }

    async fn check(&self) -> Result<(), ProviderError> {
        let response = self.send(self.request(Method::GET, self.url("account")?));
        match response::body(response.await?).await {
            Ok(_) => Ok(()),
            // A 404 is not about the credentials: they were accepted.
            Err(Refusal { status, .. }) if status == StatusCode::NOT_FOUND => Ok(()),
            Err(refusal) => Err(unpaid_call_error(refusal)),
        }
    }

    async fn submit(
        &self,
        submission: &Submission<'_>,
        gate: Arc<dyn Gate>,
    ) -> Result<Prediction, SubmitError> {
        submission::submit(self, submission, gate).await
    }

    async fn fetch(&self, prediction: &PredictionRef) -> Result<Prediction, ProviderError> {
        let url = self.prediction_url(&prediction.id, &[])?;
        Ok(self.call::<Answer>(Method::GET, url).await?.into())
    }

    async fn output(
        &self,
        prediction: &PredictionRef,
        position: usize,
        name: Option<&str>,
    ) -> Result<Option<String>, ProviderError> {
        let url = self.prediction_url(&prediction.id, &[])?;
        let response = self.send(self.request(Method::GET, url)).await?;
        let body = response::body(response).await.map_err(unpaid_call_error)?;
        let unreadable = |error: serde_json::Error| ProviderError::Unreadable(error.to_string());
        let prediction: Prediction = lenient::from_slice::<Answer>(&body)
            .map_err(unreadable)?
            .into();
        // A read may lag behind the end, and the output that it shows may be a part.
        if !prediction.state.status.is_terminal() {
            return Err(ProviderError::NotFound);
        }
        let found = lenient::with_repair(&body, |body| output::file(body, position, name));
        if let Some(url) = found.map_err(unreadable)? {
            return Ok(Some(url));
        }
        let has_expired = prediction
            .state
            .expires_at
            .is_some_and(|expiry| expiry <= Timestamp::now());
        if prediction.data_removed || has_expired || !prediction.outputs.is_empty() {
            Ok(None)
        } else {
            // The outputs may follow the end.
            Err(ProviderError::NotFound)
        }
    }

    async fn find(&self, job_id: &JobId, doubt: &Doubt) -> Result<Search, ProviderError> {
        if self.public_url.is_none() {
            return Ok(Search::CannotTell);
        }
        search::find(self, job_id, doubt).await
    }

    async fn cancel(&self, prediction: &PredictionRef) -> Result<Prediction, ProviderError> {
        let url = self.prediction_url(&prediction.id, &["cancel"])?;
        Ok(self.call::<Answer>(Method::POST, url).await?.into())
    }
}

/// Error of a call other than the paid one. A gateway's 404 says nothing about a prediction.
fn unpaid_call_error(refusal: Refusal) -> ProviderError {
    match (refusal.by, refusal.error) {
        (AnsweredBy::Gateway, ProviderError::NotFound | ProviderError::Rejected(_)) => {
            ProviderError::Unavailable(format!("{} from a gateway", refusal.status))
        }
        (_, error) => error,
    }
}

/// Base URL with a slash at its end, so that paths can be joined to it.
fn with_trailing_slash(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicate() -> Replicate {
        let base = "http://localhost/v1".parse().unwrap();
        let public_url = Some("https://darkroom.example".parse().unwrap());
        Replicate::new(base, "t".into(), public_url).unwrap()
    }

    #[test]
    fn ids_are_encoded_in_paths() {
        let url = |id: &str| {
            let url = replicate().prediction_url(&id.parse().unwrap(), &["cancel"]);
            url.unwrap().to_string()
        };
        assert_eq!(url("abc"), "http://localhost/v1/predictions/abc/cancel");
        assert_eq!(
            url("../a?b#c/d"),
            "http://localhost/v1/predictions/..%2Fa%3Fb%23c%2Fd/cancel"
        );
    }

    #[test]
    fn poll_intervals_grow() {
        let replicate = replicate();
        let pace =
            |occasion| [1, 2, 5, 99].map(|poll| replicate.poll_interval(occasion, poll).as_secs());
        assert_eq!(pace(PollReason::Polled), [5, 10, 60, 60]);
        assert_eq!(pace(PollReason::BesideReports), [600, 1200, 1800, 1800]);
        assert_eq!(pace(PollReason::Reported), [2, 5, 40, 60]);
    }

    #[test]
    fn webhook_urls_name_job_and_submission() {
        let job_id = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap();
        let webhook = replicate().webhook(&job_id, &"abc".parse().unwrap());
        assert_eq!(
            webhook.unwrap().as_str(),
            "https://darkroom.example/v1/webhooks/replicate/01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1/abc"
        );
    }
}
