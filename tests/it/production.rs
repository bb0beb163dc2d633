//! The production stack without Docker: Temporal on PostgreSQL, several workers.

use std::{
    fmt::Debug,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    Client as S3,
    config::{BehaviorVersion, Credentials, Region},
    error::SdkError,
    primitives::ByteStream,
};
use darkroom_client::types::status::JobStatus;
use darkroom_dev::{
    Options,
    production::{Production, StoreUser},
    s3::BUCKET,
};
use futures::future::{join, join_all};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::support::{
    api::Api,
    harness::{BINARY, job, options, report, sha256, until},
    processes::terminate,
};

/// Timeout of a job. It may wait for the heartbeat timeouts of a killed worker, for the timeout of
/// a sticky queue, for a database restart, for the timeout of a search whose result was lost in it
/// (2 minutes), and for the first poll without a report (5 minutes).
const JOB_TIMEOUT: Duration = Duration::from_mins(8);

/// A directory for data that the system user `postgres` can read. It outlives a test that fails.
pub(crate) struct ReadableDirectory(tempfile::TempDir);

impl ReadableDirectory {
    fn new() -> Self {
        let readable = std::fs::Permissions::from_mode(0o755);
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("darkroom-").permissions(readable);
        Self(builder.tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for ReadableDirectory {
    fn drop(&mut self) {
        self.0.disable_cleanup(std::thread::panicking());
    }
}

/// Starts a production stack.
pub(crate) async fn start(workers: usize) -> (Production, Api, ReadableDirectory) {
    let directory = ReadableDirectory::new();
    let options = Options {
        directory: directory.path().to_owned(),
        // A worker that is killed just before it submits leaves a doubt. The provider lists all
        // that was bought, so that nothing is paid twice if the job is submitted again.
        variables: [
            ("DARKROOM_REQUESTS_PER_SECOND", "100000"),
            ("SUBMISSION_SEARCH_SECONDS", "30"),
            ("SUBMISSION_UNKNOWN", "resubmit"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into(),
        ..options("production")
    };
    let stack = Production::start(options, workers, |_| {}).await.unwrap();
    let api = Api::with_key(stack.api_url(), &stack.api_key);
    (stack, api, directory)
}

#[tokio::test]
async fn the_command_line_starts_it_and_runs_sample_jobs() {
    let directory = ReadableDirectory::new();
    let mut command = Command::new(BINARY);
    command
        .args(["production", "--once", "--jobs", "8", "--workers", "1"])
        .args(["--free-ports", "--data"])
        .arg(directory.path())
        .env_remove("REPLICATE_API_TOKEN");
    let output = spawn_blocking(move || command.output()).await.unwrap();
    let output = output.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:#?}");
    assert!(stdout.contains("all of them completed in"), "{stdout}");
}

#[tokio::test]
async fn a_killed_worker_and_a_restarted_database_lose_nothing() {
    const JOBS: usize = 60;
    let (mut stack, api, _directory) = start(3).await;
    let began = Instant::now();
    let done = AtomicUsize::new(0);
    let run = async |number: usize| {
        let body = job(
            4,
            json!({"bytes": 200_000, "latency_ms": 500 + (number % 7) * 700}),
        );
        let id = api
            .accepted_despite_faults(&format!("job-{number}"), &body)
            .await;
        let job = api.ended_despite_faults(&id, JOB_TIMEOUT).await;
        done.fetch_add(1, Ordering::Relaxed);
        job
    };
    let faults = async {
        until("jobs that have ended", async || {
            (done.load(Ordering::Relaxed) >= 5).then_some(())
        })
        .await;
        stack.workers[0].kill();
        until("more of them", async || {
            (done.load(Ordering::Relaxed) >= 15).then_some(())
        })
        .await;
        stack.postgres.restart().await.unwrap();
        stack.add_worker(&[]).await.unwrap();
        terminate(&stack.workers[1]);
    };
    let (jobs, ()) = join(join_all((0..JOBS).map(run)), faults).await;
    report(&format!(
        "{JOBS} jobs through a kill, a restart and a stop in {:?}",
        began.elapsed()
    ));

    for job in &jobs {
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
        assert_eq!(job.media.len(), 4);
        for media in &job.media {
            let url = media.presigned_media_url.clone().unwrap();
            let stored = api.http.get(url).send().await.unwrap();
            let bytes = stored.error_for_status().unwrap().bytes().await.unwrap();
            assert_eq!(media.sha256, Some(sha256(&bytes)), "{media:#?}");
        }
    }
    let predictions = stack.provider.as_ref().unwrap().predictions();
    assert_eq!(predictions.len(), JOBS, "each job is paid for once");
    assert!(stack.workers[2].is_running() && stack.api.is_running());
}

/// The store, as one of its users.
fn store_of(stack: &Production, user: StoreUser) -> S3 {
    let (access_key, secret_key) = stack.store_keys(user).unwrap();
    let credentials = Credentials::new(access_key, secret_key, None, None, "tests");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials)
        .region(Region::from_static("us-east-1"))
        .endpoint_url(&stack.s3.endpoint)
        .force_path_style(true);
    S3::from_conf(config.build())
}

/// True if the store carried a request out, false if it answered 403.
fn is_allowed<T, E: Debug>(answer: Result<T, SdkError<E>>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => {
            let status = error.raw_response().map(|answer| answer.status().as_u16());
            assert_eq!(status, Some(403), "{error:?}");
            false
        }
    }
}

/// Access of a user of the store to one key.
struct Access {
    user: StoreUser,
    key: &'static str,
    put: bool,
    get: bool,
    delete: bool,
}

impl Access {
    const fn all(user: StoreUser, key: &'static str) -> Self {
        Self {
            user,
            key,
            put: true,
            get: true,
            delete: true,
        }
    }

    const fn none(user: StoreUser, key: &'static str) -> Self {
        Self {
            put: false,
            get: false,
            delete: false,
            ..Self::all(user, key)
        }
    }

    const fn read(user: StoreUser, key: &'static str) -> Self {
        Self {
            get: true,
            ..Self::none(user, key)
        }
    }
}

#[tokio::test]
async fn worker_and_api_may_do_in_the_store_what_they_need() {
    let (stack, _api, _directory) = start(1).await;
    let root = store_of(&stack, StoreUser::Root);
    for access in [
        Access::all(StoreUser::Worker, "jobs/x"),
        Access::none(StoreUser::Worker, "keys/x"),
        Access::read(StoreUser::Api, "jobs/x"),
        Access::read(StoreUser::Api, "tombstones/x"),
        Access::all(StoreUser::Api, "keys/x"),
    ] {
        let Access {
            user,
            key,
            put,
            get,
            delete,
        } = access;
        let existing = root.put_object().bucket(BUCKET).key(key);
        existing
            .body(ByteStream::from_static(b"x"))
            .send()
            .await
            .unwrap();

        let store = store_of(&stack, user);
        let object = store.put_object().bucket(BUCKET).key(key);
        let written = object.body(ByteStream::from_static(b"x")).send().await;
        assert_eq!(is_allowed(written), put, "{user:?} puts {key}");
        let read = store.get_object().bucket(BUCKET).key(key).send().await;
        assert_eq!(is_allowed(read), get, "{user:?} gets {key}");
        let deleted = store.delete_object().bucket(BUCKET).key(key).send().await;
        assert_eq!(is_allowed(deleted), delete, "{user:?} deletes {key}");
    }
    for user in [StoreUser::Worker, StoreUser::Api] {
        let store = store_of(&stack, user);
        let head = store.head_bucket().bucket(BUCKET).send().await;
        assert!(is_allowed(head), "{user:?}");
        let policy = store.get_bucket_policy().bucket(BUCKET).send().await;
        assert!(!is_allowed(policy), "{user:?}");
        let uploads = store.list_multipart_uploads().bucket(BUCKET).send().await;
        assert_eq!(is_allowed(uploads), matches!(user, StoreUser::Worker));
    }
}
