//! A caller of a stack's api, and the bodies of its answers.

use std::{net::SocketAddr, time::Duration};

use darkroom_client::{
    Client,
    types::{
        job_id::JobId,
        request::ListJobs,
        resource::{Job, JobSummary},
        status::Stage,
    },
};
use darkroom_dev::{Stack, provider::prediction::Prediction};
use jiff::Timestamp;
use reqwest::{
    Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::harness::{DEADLINE, submission_of, until, until_within};

/// A caller of an api: through the client crate, and through plain HTTP where HTTP is tested.
pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) http: reqwest::Client,
    key: Option<String>,
}

impl Api {
    pub(crate) fn of(stack: &Stack) -> Self {
        Self::at_url(stack.api_url())
    }

    /// A caller without a key.
    pub(crate) fn at_url(url: String) -> Self {
        Self::new(url, None)
    }

    /// A caller with a key.
    pub(crate) fn with_key(url: String, key: &str) -> Self {
        Self::new(url, Some(key))
    }

    fn new(url: String, key: Option<&str>) -> Self {
        let mut headers = HeaderMap::new();
        let mut client = Client::builder(url.parse().unwrap());
        if let Some(key) = key {
            headers.insert(AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
            client = client.api_key(key);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .default_headers(headers);
        Self {
            // Without retries, so that a test sees every failure.
            client: client.build().unwrap().with_retry_budget(Duration::ZERO),
            http: http.build().unwrap(),
            url,
            key: key.map(str::to_owned),
        }
    }

    /// The same caller, directed at another api process.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self::new(format!("http://{address}"), self.key.as_deref())
    }

    /// Gets a path.
    pub(crate) async fn get_path(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.url);
        self.http.get(url).send().await.unwrap()
    }

    /// Metrics of the api.
    pub(crate) async fn metrics(&self) -> String {
        self.get_path("/metrics").await.text().await.unwrap()
    }

    /// Posts a job.
    pub(crate) async fn post(&self, body: &Value) -> Response {
        self.http
            .post(format!("{}/v1/jobs", self.url))
            .json(body)
            .send()
            .await
            .unwrap()
    }

    /// Posts a job with an `Idempotency-Key`.
    pub(crate) async fn post_with_key(&self, key: &str, body: &Value) -> reqwest::Result<Response> {
        let url = format!("{}/v1/jobs", self.url);
        let request = self.http.post(url).header("Idempotency-Key", key);
        request.json(body).send().await
    }

    /// Retries a job, with an `Idempotency-Key` or without.
    pub(crate) async fn retry(&self, id: &JobId, key: Option<&str>, body: &Value) -> Response {
        let mut request = self.http.post(format!("{}/v1/jobs/{id}/retry", self.url));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.json(body).send().await.unwrap()
    }

    /// Sends a report of the provider that a prediction of a job has succeeded, signed by `sign`
    /// from the id, the time and the body. Returns the status of the answer.
    pub(crate) async fn report(
        &self,
        id: &JobId,
        prediction: &Prediction,
        at: Timestamp,
        sign: impl Fn(&str, &str, &str) -> String,
    ) -> StatusCode {
        let message = format!("msg_{}", prediction.id);
        let at = at.as_second().to_string();
        let output = ["https://evil.example/x.png"];
        let body = json!({"id": prediction.id, "status": "succeeded", "output": output});
        let body = body.to_string();
        let submission = submission_of(prediction);
        let url = format!("{}/v1/webhooks/replicate/{id}/{submission}", self.url);
        let signature = sign(&message, &at, &body);
        let request = self.http.post(url).header("webhook-id", message);
        let request = request.header("webhook-timestamp", at);
        let request = request.header("webhook-signature", signature);
        request.body(body).send().await.unwrap().status()
    }

    /// The client, which retries as callers do: on a loaded machine Temporal may take longer than
    /// the api waits for it, and a rate limit may refuse a call for a moment.
    fn retrying_client(&self, budget: Duration) -> Client {
        self.client.clone().with_retry_budget(budget)
    }

    /// Reads the first page of the list of jobs, 100 at most.
    pub(crate) async fn list(&self) -> Vec<JobSummary> {
        let list = ListJobs {
            limit: Some(100.try_into().unwrap()),
            ..ListJobs::default()
        };
        let client = self.retrying_client(DEADLINE);
        client.list_jobs(&list).await.unwrap().jobs
    }

    /// Creates a job and returns its id. Uses an idempotency key, and retries while the api answers
    /// 503.
    pub(crate) async fn accepted(&self, body: &Value) -> JobId {
        let key = Uuid::new_v4().to_string();
        let response = self.post_with_key(&key, body).await.unwrap();
        let status = response.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return self.accepted_despite_faults(&key, body).await;
        }
        let job = job_in(response).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job:#?}");
        job.job_id
    }

    /// Reads a job.
    pub(crate) async fn get(&self, job_id: &JobId) -> Job {
        let client = self.retrying_client(DEADLINE);
        client.get_job(job_id).await.unwrap()
    }

    /// Deletes a job.
    pub(crate) async fn delete(&self, job_id: &JobId) -> Response {
        let url = format!("{}/v1/jobs/{job_id}", self.url);
        self.http.delete(url).send().await.unwrap()
    }

    /// Posts to one of a job's actions, such as `cancel`.
    pub(crate) async fn act(&self, job_id: &JobId, action: &str) -> Response {
        self.http
            .post(format!("{}/v1/jobs/{job_id}/{action}", self.url))
            .send()
            .await
            .unwrap()
    }

    /// Waits until a job has reached a stage.
    pub(crate) async fn until_stage(&self, job_id: &JobId, stage: Stage) {
        until(&format!("{stage:?} of {job_id}"), async || {
            (self.get(job_id).await.stage == Some(stage)).then_some(())
        })
        .await;
    }

    /// Waits until a job has ended and returns it.
    pub(crate) async fn ended(&self, job_id: &JobId) -> Job {
        self.ended_within(job_id, DEADLINE).await
    }

    /// Waits until a job has ended, with a deadline for jobs that are delayed on purpose. Follows
    /// the job's events to the last one, then reads the job.
    pub(crate) async fn ended_within(&self, job_id: &JobId, deadline: Duration) -> Job {
        let client = self.retrying_client(deadline);
        match tokio::time::timeout(deadline, client.wait(job_id)).await {
            Ok(ended) => _ = ended.unwrap(),
            Err(_) => self.panic_about(job_id, deadline).await,
        }
        let job = self.get(job_id).await;
        assert!(job.status.is_terminal(), "{job:#?}");
        job
    }

    /// Creates a job under an idempotency key and returns its id. Retries with the same key while
    /// the api is down or answers 503.
    pub(crate) async fn accepted_despite_faults(&self, key: &str, body: &Value) -> JobId {
        until("an accepted job", async || {
            let answer = self.post_with_key(key, body).await.ok()?;
            match answer.status() {
                StatusCode::ACCEPTED | StatusCode::OK => {}
                StatusCode::SERVICE_UNAVAILABLE => return None,
                status => panic!("{status}"),
            }
            let job: Job = serde_json::from_slice(&answer.bytes().await.ok()?).unwrap();
            Some(job.job_id)
        })
        .await
    }

    /// Waits until a job has ended and returns it. Retries while the api is down or answers 503.
    pub(crate) async fn ended_despite_faults(&self, job_id: &JobId, deadline: Duration) -> Job {
        let url = format!("{}/v1/jobs/{job_id}", self.url);
        let ended = until_within("end", 2 * deadline, async || {
            let answer = self.http.get(&url).send().await.ok()?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::SERVICE_UNAVAILABLE => return None,
                status => panic!("{job_id}: {status}"),
            }
            let job: Job = serde_json::from_slice(&answer.bytes().await.ok()?).unwrap();
            job.completed_at.is_some().then_some(job)
        });
        match tokio::time::timeout(deadline, ended).await {
            Ok(job) => job,
            Err(_) => self.panic_about(job_id, deadline).await,
        }
    }

    /// Panics, showing the job that has not ended.
    async fn panic_about(&self, job_id: &JobId, deadline: Duration) -> ! {
        let job = self.get_path(&format!("/v1/jobs/{job_id}")).await;
        let job = job.text().await.unwrap();
        panic!("{job_id} has not ended within {deadline:?}: {job}");
    }

    /// Waits until the api has this many followers of jobs: event streams and long polls.
    pub(crate) async fn until_followed_by(&self, count: u32) {
        let expected = format!("darkroom_job_followers {count}");
        until(&expected, async || {
            let metrics = self.metrics().await;
            metrics.lines().any(|line| line == expected).then_some(())
        })
        .await;
    }

    /// Creates a job and waits until it has ended.
    pub(crate) async fn run(&self, body: &Value) -> Job {
        self.ended(&self.accepted(body).await).await
    }
}

/// The job in the body of a response.
pub(crate) async fn job_in(response: Response) -> Job {
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    serde_json::from_value(body.clone())
        .unwrap_or_else(|error| panic!("{status}: {error}: {body:#}"))
}

/// Status and type of a problem.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Type without the common prefix.
    pub(crate) kind: String,
}

impl Problem {
    /// The problem with this status and this type, which is without the common prefix.
    pub(crate) fn new(status: StatusCode, kind: &str) -> Self {
        let kind = kind.to_owned();
        Self { status, kind }
    }

    /// The problem in the body of a response.
    pub(crate) async fn of(response: Response) -> Self {
        let status = response.status();
        let problem: Value = response.json().await.unwrap();
        let kind = problem["type"]
            .as_str()
            .unwrap_or_else(|| panic!("{status} {problem:#}"));
        Self::new(status, kind.trim_start_matches("urn:darkroom:problem:"))
    }
}
