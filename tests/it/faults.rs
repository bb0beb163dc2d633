//! Kills and cancellations at random moments. `DARKROOM_FAULTS` sets the number of rounds, and
//! `DARKROOM_FAULTS_SEED` the moments.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use darkroom_client::types::{failure::FailureType, job_id::JobId, status::JobStatus};
use darkroom_dev::{Options, Stack, provider::prediction::Prediction};
use fastrand::Rng;
use futures::future::join_all;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{
    api::Api,
    harness::{
        assert_prompt, failure_type, job, job_of, options, options_with, report, setting, start,
        until,
    },
    processes::{log_of, restart_worker, start_worker},
};

/// Timeout of a job. It may wait for two heartbeat timeouts and for the timeout of a sticky queue.
const JOB_TIMEOUT: Duration = Duration::from_mins(3);

/// Number of rounds.
pub(crate) fn rounds() -> u32 {
    setting("DARKROOM_FAULTS", 8)
}

/// Random number generator. Its seed is printed, so that a run can be repeated.
pub(crate) fn seeded_rng() -> Rng {
    let seed = setting("DARKROOM_FAULTS_SEED", 20_261_123);
    report(&format!(
        "DARKROOM_FAULTS={} DARKROOM_FAULTS_SEED={seed}",
        rounds()
    ));
    Rng::with_seed(seed)
}

/// Returns a random duration below the limit.
pub(crate) fn duration_below(random: &mut Rng, limit: Duration) -> Duration {
    limit.mul_f64(random.f64())
}

/// All predictions, by job.
pub(crate) fn predictions_by_job(stack: &Stack) -> BTreeMap<JobId, Vec<Prediction>> {
    let mut by_job = BTreeMap::<JobId, Vec<Prediction>>::new();
    for prediction in stack.provider.as_ref().unwrap().predictions() {
        let job = job_of(&prediction);
        by_job.entry(job).or_default().push(prediction);
    }
    by_job
}

/// Kills workers at random moments around the one call that costs money.
#[tokio::test]
async fn a_worker_killed_at_any_step_of_generate_pays_once() {
    // A submission whose worker was killed between its record and the call was never sent, but the
    // job cannot know that and is in doubt. It searches for 10 seconds.
    let options = options_with("faults-kills", &[("SUBMISSION_SEARCH_SECONDS", "10")]);
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    let mut random = seeded_rng();
    let mut jobs = Vec::new();
    for round in 0..rounds() {
        // A third of the rounds delay the provider's answer, so that kills fall between the call
        // and its record.
        let answer_delay = if round % 3 == 0 { 400 } else { 0 };
        let dev =
            json!({"latency_ms": 800, "answer_delay_ms": answer_delay, "webhooks": round % 2});
        jobs.push(api.accepted(&job(2, dev)).await);
        let span = if answer_delay > 0 {
            Duration::from_millis(500)
        } else {
            Duration::from_millis(1200)
        };
        tokio::time::sleep(duration_below(&mut random, span)).await;
        restart_worker(&mut stack);
    }
    let (mut completed, mut in_doubt) = (0, 0);
    for id in &jobs {
        let job = api.ended_within(id, JOB_TIMEOUT).await;
        match (job.status, failure_type(job.error.as_ref())) {
            (JobStatus::Completed, _) => completed += 1,
            (JobStatus::Failed, Some(FailureType::SubmissionUnknown)) => in_doubt += 1,
            _ => panic!("{job:#?}"),
        }
    }
    let bought = predictions_by_job(&stack);
    let creates: usize = bought.values().map(Vec::len).sum();
    let log = log_of(&options.directory, "worker");
    let adopted = log.matches("adopted a prediction").count();
    report(&format!(
        "{} jobs, {} kills: {completed} completed, {in_doubt} in doubt; {creates} creates, {adopted} adopted",
        jobs.len(),
        rounds()
    ));
    assert!(
        bought.values().all(|predictions| predictions.len() == 1),
        "a job was paid for twice"
    );
    assert_eq!(completed + in_doubt, jobs.len(), "a job was lost");
    assert!(creates >= completed);
}

#[tokio::test]
async fn jobs_canceled_at_any_moment_leave_nothing_running() {
    const BATCH: u32 = 4;
    let options = options("faults-cancels");
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    let mut random = seeded_rng();
    let (mut slowest, mut slowest_without_worker) = (Duration::ZERO, Duration::ZERO);
    let mut endings = BTreeMap::<String, u32>::new();
    for batch in 0..rounds() / BATCH {
        let kills = batch % 2 == 1;
        // Small outputs if the worker is killed: the sweep of abandoned uploads is not tested here.
        let bytes = if kills { 1024 } else { 9_000_000 };
        let mut ids = Vec::new();
        for _ in 0..BATCH {
            ids.push(
                api.accepted(&job(3, json!({"latency_ms": 700, "bytes": bytes})))
                    .await,
            );
            tokio::time::sleep(duration_below(&mut random, Duration::from_millis(600))).await;
        }
        if kills {
            stack.worker.kill();
        }
        let begin = Instant::now();
        join_all(ids.iter().map(|id| cancel(&api, id))).await;
        if kills {
            start_worker(&mut stack);
        }
        let ended = join_all(ids.iter().map(|id| async {
            let job = api.ended_within(id, JOB_TIMEOUT).await;
            (job.status, begin.elapsed())
        }));
        for (status, took) in ended.await {
            let slowest = if kills {
                &mut slowest_without_worker
            } else {
                &mut slowest
            };
            *slowest = took.max(*slowest);
            assert!(
                matches!(status, JobStatus::Canceled | JobStatus::Completed),
                "{status}"
            );
            *endings.entry(status.to_string()).or_default() += 1;
        }
    }
    report(&format!(
        "{endings:?}; slowest {slowest:?}, with a killed worker {slowest_without_worker:?}"
    ));
    assert_prompt("the slowest", slowest, Duration::from_secs(10));
    // Temporal declares an attempt that was buying timed out after 45 s without a heartbeat.
    assert_prompt(
        "the slowest with a killed worker",
        slowest_without_worker,
        Duration::from_mins(1),
    );
    let now = Timestamp::now();
    for (job, predictions) in predictions_by_job(&stack) {
        assert_eq!(predictions.len(), 1, "{job} was paid for twice");
        assert!(
            predictions[0].status(now).is_terminal(),
            "a prediction of {job} still runs"
        );
        let calls = predictions[0].cancel_calls;
        assert!(
            calls <= 1,
            "a prediction of {job} was canceled {calls} times"
        );
    }
    until("end of all uploads", async || {
        (unfinished_uploads(&options) == 0).then_some(())
    })
    .await;
}

async fn cancel(api: &Api, id: &JobId) {
    let status = api.act(id, "cancel").await.status();
    assert!(
        status.is_success() || status == StatusCode::CONFLICT,
        "{status}"
    );
}

/// Multipart uploads that were neither completed nor aborted, as the embedded S3 server keeps them.
fn unfinished_uploads(options: &Options) -> usize {
    let names = |path| {
        std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
    };
    names(options.directory.join("s3"))
        .filter(|name| name.starts_with(".upload"))
        .count()
}
