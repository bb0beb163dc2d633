//! Basis of all tests: stacks, requests for jobs, what jobs say and have bought, and waiting for
//! conditions with a deadline.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    str::FromStr,
    sync::OnceLock,
    time::{Duration, Instant},
};

use darkroom_client::types::{
    failure::{FailureType, JobError},
    job_id::JobId,
    provider::CancelOutcome,
    resource::Job,
    sha256::Sha256,
    status::MediaStatus,
};
use darkroom_dev::{
    Options, ProviderChoice, Stack,
    provider::{ProviderServer, prediction::Prediction},
};
use darkroom_workflows::job::SubmissionId;
use serde_json::{Value, json};
use sha2::Digest;

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

/// Options for a stack with fresh data, with these variables of its worker and its api.
pub(crate) fn options_with(name: &str, variables: &[(&'static str, &str)]) -> Options {
    Options {
        variables: owned(variables),
        ..options(name)
    }
}

/// Variables as [`Options`] hold them.
pub(crate) fn owned(variables: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let variables = variables.iter();
    variables
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

/// Setting of the test run: the value of an environment variable, or a default.
pub(crate) fn setting<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Path of a directory below the target directory, such as that of the stack with this name.
pub(crate) fn directory_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Path of such a directory, from which the files of earlier runs are removed.
pub(crate) fn fresh_directory(name: &str) -> PathBuf {
    let directory = directory_of(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory).unwrap();
    }
    directory
}

/// Starts a stack.
pub(crate) async fn start(options: &Options) -> Stack {
    Stack::start(options.clone(), |_| {}).await.unwrap()
}

/// An entry of `DARKROOM_API_KEYS`: a tenant with one of its keys.
pub(crate) fn api_key_entry(tenant: &str, key: &str) -> String {
    format!("{tenant}:{}", hex::encode(sha2::Sha256::digest(key)))
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

/// Replaces fields of the instructions (`dev`) of a job's predictions.
pub(crate) fn change_script(provider: Option<&ProviderServer>, job_id: &JobId, fields: &Value) {
    let fields = fields.as_object().unwrap();
    for prediction in bought(provider, job_id) {
        provider.unwrap().change_script(&prediction.id, fields);
    }
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

/// Number of a job's outputs with a status.
pub(crate) fn count(job: &Job, status: MediaStatus) -> usize {
    job.media
        .iter()
        .filter(|media| media.status == status)
        .count()
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

/// Pause before a condition is checked again, at first and at most. Each check costs CPU time that
/// other tests need.
const PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// Polls a condition until it yields a value, and returns it. Panics after the deadline.
pub(crate) async fn until_within<T>(
    what: &str,
    deadline: Duration,
    condition: impl AsyncFn() -> Option<T>,
) -> T {
    let give_up = Instant::now() + deadline;
    let mut pause = PAUSE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < give_up, "no {what} within {deadline:?}");
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(MAX_PAUSE);
    }
}

/// Returns the SHA-256 of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    <[u8; 32]>::from(sha2::Sha256::digest(bytes)).into()
}
