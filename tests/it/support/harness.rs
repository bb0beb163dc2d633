//! Basis of all tests: a stack, a caller of its api, and waiting for conditions with a deadline.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use darkroom_client::{
    Client,
    types::{
        failure::{FailureType, JobError},
        job_id::JobId,
        provider::CancelOutcome,
        request::ListJobs,
        resource::{Job, JobSummary},
        status::{MediaStatus, Stage},
    },
};
use darkroom_dev::{
    Options, ProviderChoice, Stack,
    process::Process,
    provider::{ProviderServer, prediction::Prediction},
};
use darkroom_workflows::{MediaGeneration, job::SubmissionId};
use reqwest::{
    Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use temporalio_client::{WorkflowDescribeOptions, WorkflowFetchHistoryOptions};
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;

/// Deadline for anything that is normally quick. Generous, because the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_mins(3);

/// Prints a line with the figures of a run.
#[expect(clippy::print_stdout, reason = "it prints the figures of a run")]
pub(crate) fn report(line: &str) {
    println!("{line}");
}

/// Reports how long something took. With `DARKROOM_QUIET=1`, on a machine that has nothing else to
/// do, asserts that it took no longer than promised: beside other tests, time says little.
pub(crate) fn assert_prompt(what: &str, took: Duration, promised: Duration) {
    report(&format!("{what} took {took:.1?}; promised: {promised:?}"));
    let is_quiet = std::env::var_os("DARKROOM_QUIET").is_some();
    assert!(
        !is_quiet || took <= promised,
        "{what} took {took:.1?} instead of {promised:?}"
    );
}

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_darkroom");

/// The stack that tests share. It has a thread of its own, so that it outlives the runtime of each
/// test.
pub(crate) fn shared() -> &'static Stack {
    static SHARED: OnceLock<Stack> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                send.send(start(&options("shared")).await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receive.recv().unwrap()
    })
}

/// Options for a stack with fresh data.
pub(crate) fn options(name: &str) -> Options {
    Options {
        directory: fresh_directory(name),
        binary: PathBuf::from(BINARY),
        usual_ports: false,
        temporal_ui: false,
        provider: ProviderChoice::Embedded {
            latency: Duration::ZERO,
        },
        variables: Vec::new(),
    }
}

/// Path of a directory below the target directory, from which the files of earlier runs are
/// removed.
pub(crate) fn fresh_directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).unwrap();
    }
    directory
}

/// Starts a stack.
pub(crate) async fn start(options: &Options) -> Stack {
    Stack::start(options.clone(), |_| {}).await.unwrap()
}

/// Restarts a stack with an empty Temporal database and the same store. To the api this looks like
/// a Temporal that has deleted all closed workflows after their retention.
pub(crate) async fn restart_with_empty_temporal(stack: Stack, options: &Options) -> Stack {
    stack.temporal.kill();
    for file in ["temporal.db", "temporal.db-wal", "temporal.db-shm"] {
        std::fs::remove_file(options.directory.join(file)).unwrap();
    }
    drop(stack);
    start(options).await
}

/// Sends SIGTERM to a process, as an orchestrator does for a graceful shutdown.
pub(crate) fn terminate(process: &Process) {
    signal(process, "TERM");
}

/// Sends a signal to a process.
pub(crate) fn signal(process: &Process, name: &str) {
    signal_id(process.id(), name);
}

/// Sends a signal to a process that is known by its id.
pub(crate) fn signal_id(id: u32, name: &str) {
    let told = std::process::Command::new("kill")
        .args([&format!("-{name}"), &id.to_string()])
        .status()
        .unwrap();
    assert!(told.success());
}

/// An entry of `DARKROOM_API_KEYS`: a tenant with one of its keys.
pub(crate) fn api_key_entry(tenant: &str, key: &str) -> String {
    format!("{tenant}:{}", hex::encode(Sha256::digest(key)))
}

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

    /// Reads the first page of the list of jobs, 100 at most. Retries while the rate limit of lists
    /// refuses it.
    pub(crate) async fn list(&self) -> Vec<JobSummary> {
        let list = ListJobs {
            limit: Some(100.try_into().unwrap()),
            ..ListJobs::default()
        };
        let client = self.client.clone().with_retry_budget(DEADLINE);
        client.list_jobs(&list).await.unwrap().jobs
    }

    /// Creates a job, asserts that it is accepted, and returns its id.
    pub(crate) async fn accepted(&self, body: &Value) -> JobId {
        let response = self.post(body).await;
        let status = response.status();
        let job = job_in(response).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{job:#?}");
        job.job_id
    }

    /// Reads a job.
    pub(crate) async fn get(&self, job_id: &JobId) -> Job {
        self.client.get_job(job_id).await.unwrap()
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
        let ended = tokio::time::timeout(deadline, self.client.wait(job_id)).await;
        ended
            .unwrap_or_else(|_| panic!("{job_id} has not ended within {deadline:?}"))
            .unwrap();
        let job = self.get(job_id).await;
        assert!(job.status.is_terminal(), "{job:#?}");
        job
    }

    /// Waits until the api has this many followers of jobs: event streams and long polls.
    pub(crate) async fn until_followed_by(&self, count: u32) {
        let expected = format!("darkroom_job_followers {count}");
        until(&expected, async || {
            let metrics = self.http.get(format!("{}/metrics", self.url)).send();
            let metrics = metrics.await.unwrap().text().await.unwrap();
            metrics.lines().any(|line| line == expected).then_some(())
        })
        .await;
    }

    /// Creates a job and waits until it has ended.
    pub(crate) async fn run(&self, body: &Value) -> Job {
        self.ended(&self.accepted(body).await).await
    }
}

/// Request for a job. `dev` is the script of the embedded provider; outputs have 1 KiB unless it
/// sets `bytes`.
pub(crate) fn job(num_outputs: u32, mut dev: Value) -> Value {
    if dev.get("bytes").is_none() {
        dev["bytes"] = 1024.into();
    }
    json!({"model": "acme/photo", "prompt": "a fox in the snow", "num_outputs": num_outputs, "input": {"dev": dev}})
}

/// Request for a job whose generation outlasts any test.
pub(crate) fn endless() -> Value {
    job(2, json!({"latency_ms": 3_600_000}))
}

/// The predictions that were bought for a job, newest first.
pub(crate) fn bought(provider: Option<&ProviderServer>, job_id: &JobId) -> Vec<Prediction> {
    let is_its = |prediction: &Prediction| {
        prediction
            .webhook
            .as_ref()
            .is_some_and(|url| url.contains(&format!("/{job_id}/")))
    };
    provider
        .unwrap()
        .predictions()
        .into_iter()
        .filter(is_its)
        .collect()
}

/// Waits until a prediction was bought for a job, and returns it.
pub(crate) async fn bought_one(provider: Option<&ProviderServer>, job_id: &JobId) -> Prediction {
    until("prediction", async || bought(provider, job_id).pop()).await
}

/// The job of a prediction, from its webhook URL.
pub(crate) fn job_of(prediction: &Prediction) -> JobId {
    let webhook = prediction.webhook.as_deref().unwrap();
    webhook.rsplit('/').nth(1).unwrap().parse().unwrap()
}

/// The submission that created a prediction, from its webhook URL.
pub(crate) fn submission_of(prediction: &Prediction) -> SubmissionId {
    let webhook = prediction.webhook.as_ref().unwrap();
    webhook.rsplit('/').next().unwrap().parse().unwrap()
}

/// Waits until a job's prediction is bought and no activity is pending: the activity that submitted
/// it has stopped waiting for it, as it does for a prediction that takes longer.
pub(crate) async fn until_submitted(stack: &Stack, job_id: &JobId) {
    let client = stack.temporal.client().await.unwrap();
    let handle = client.get_workflow_handle::<MediaGeneration>(job_id.to_string());
    until("a job that waits at the provider", async || {
        let description = handle
            .describe(WorkflowDescribeOptions::default())
            .await
            .unwrap();
        let is_bought = bought(stack.provider.as_ref(), job_id).len() == 1;
        (is_bought && description.raw().pending_activities.is_empty()).then_some(())
    })
    .await;
}

/// Number of a job's outputs with a status.
pub(crate) fn count(job: &Job, status: MediaStatus) -> usize {
    job.media
        .iter()
        .filter(|media| media.status == status)
        .count()
}

/// The job in the body of a response.
pub(crate) async fn job_in(response: Response) -> Job {
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    serde_json::from_value(body.clone())
        .unwrap_or_else(|error| panic!("{status}: {error}: {body:#}"))
}

/// Number of a job's outputs of which at least one byte was transferred.
pub(crate) fn transferred_count(job: &Job) -> usize {
    let moving = job.media.iter().filter(|media| media.bytes_done > Some(0));
    moving.count()
}

/// Outcome of canceling a job's prediction.
pub(crate) fn cancel_outcome(job: &Job) -> Option<CancelOutcome> {
    job.provider.as_ref()?.cancel_outcome
}

/// Id that the provider gave to a job's prediction.
pub(crate) fn prediction_id(job: &Job) -> Option<&str> {
    Some(job.provider.as_ref()?.prediction_id.as_ref()?.as_str())
}

/// Type of a failure, if there is one.
pub(crate) fn failure_type(error: Option<&JobError>) -> Option<FailureType> {
    error.map(|error| error.kind)
}

/// Polls a condition until it yields a value, and returns it. Panics after [`DEADLINE`].
pub(crate) async fn until<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    until_within(what, DEADLINE, condition).await
}

/// Polls a condition until it yields a value, and returns it. Panics after the deadline.
pub(crate) async fn until_within<T>(
    what: &str,
    deadline: Duration,
    condition: impl AsyncFn() -> Option<T>,
) -> T {
    let give_up = Instant::now() + deadline;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < give_up, "no {what} within {deadline:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Workflow history of a job of the shared stack.
pub(crate) async fn history(job_id: &JobId) -> Vec<HistoryEvent> {
    history_of(shared(), job_id).await
}

/// Workflow history of a job.
pub(crate) async fn history_of(stack: &Stack, job_id: &JobId) -> Vec<HistoryEvent> {
    let client = stack.temporal.client().await.unwrap();
    let handle = client.get_workflow_handle::<MediaGeneration>(job_id.to_string());
    handle
        .fetch_history(WorkflowFetchHistoryOptions::default())
        .into_events()
        .await
        .unwrap()
}

/// Status of a response, and type of the problem in its body without the common prefix.
pub(crate) async fn problem_of(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let problem: Value = response.json().await.unwrap();
    (
        status,
        problem["type"]
            .as_str()
            .unwrap_or_else(|| panic!("{status} {problem:#}"))
            .trim_start_matches("urn:darkroom:problem:")
            .to_owned(),
    )
}
