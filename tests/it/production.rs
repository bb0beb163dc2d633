//! The production stack without Docker: Temporal on PostgreSQL, several workers.

use std::{
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use darkroom_client::types::{job_id::JobId, resource::Job, status::JobStatus};
use darkroom_dev::{Options, production::Production};
use futures::future::{join, join_all};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    api::Api,
    harness::{job, options, report, sha256, until, until_within},
    processes::terminate,
};

/// Timeout of a job. It may wait for the heartbeat timeouts of a killed worker, for the timeout of
/// a sticky queue, and for a database restart.
const JOB_TIMEOUT: Duration = Duration::from_mins(3);

/// Starts a production stack. Its data are where the system user `postgres` can read them.
pub(crate) async fn start(workers: usize) -> (Production, Api, tempfile::TempDir) {
    let readable = std::fs::Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new()
        .prefix("darkroom-")
        .permissions(readable)
        .tempdir()
        .unwrap();
    let options = Options {
        directory: directory.path().to_owned(),
        variables: vec![("DARKROOM_REQUESTS_PER_SECOND", "100000".to_owned())],
        ..options("production")
    };
    let stack = Production::start(options, workers, |_| {}).await.unwrap();
    let api = Api::with_key(stack.api_url(), &stack.api_key);
    (stack, api, directory)
}

/// Creates a job. Retries with the same idempotency key while the api answers 503.
async fn accepted(api: &Api, key: &str, body: &Value) -> JobId {
    until("an accepted job", async || {
        let answer = api.post_with_key(key, body).await.unwrap();
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::OK => {
                Some(answer.json::<Job>().await.unwrap().job_id)
            }
            StatusCode::SERVICE_UNAVAILABLE => None,
            status => panic!("{status}"),
        }
    })
    .await
}

/// Polls a job until it has ended. Retries while the api answers 503.
async fn ended(api: &Api, id: &JobId) -> Job {
    until_within(&format!("the end of {id}"), JOB_TIMEOUT, async || {
        let answer = api.get_path(&format!("/v1/jobs/{id}")).await;
        match answer.status() {
            StatusCode::OK => {
                let job: Job = answer.json().await.unwrap();
                job.completed_at.is_some().then_some(job)
            }
            StatusCode::SERVICE_UNAVAILABLE => None,
            status => panic!("{status}"),
        }
    })
    .await
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
        let id = accepted(&api, &format!("job-{number}"), &body).await;
        let job = ended(&api, &id).await;
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
