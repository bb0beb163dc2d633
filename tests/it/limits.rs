//! Rate limits of the provider, which all workers together respect. `DARKROOM_JOBS` sets how many
//! jobs there are at once.

use std::time::{Duration, Instant};

use darkroom_client::types::status::JobStatus;
use darkroom_dev::provider::limits::Limits;
use futures::future::join_all;
use serde_json::json;

use crate::support::{
    api::Api,
    harness::{job, job_of, options_with, report, setting, start, until},
    processes::{log_of, metrics_address},
};

/// Timeout of a job.
const JOB_TIMEOUT: Duration = Duration::from_mins(3);

#[tokio::test]
async fn many_jobs_at_once_are_bought_at_the_pace_that_the_provider_allows() {
    many_at_once("limits", 2).await;
}

#[tokio::test]
#[ignore = "the one with two workers shows more"]
async fn one_worker_buys_many_jobs_at_the_pace_that_the_provider_allows() {
    many_at_once("limits-of-one", 1).await;
}

/// Creates more jobs at once than the provider accepts in many seconds, and checks that the rate
/// limit is exceeded rarely. A busy machine holds calls back and then makes them at once, so the
/// provider accepts bursts: short enough that a worker with a rate limit of its own exceeds them.
async fn many_at_once(name: &str, workers: usize) {
    const LATENCY: Duration = Duration::from_secs(5);
    const CREATES_PER_SECOND: u32 = 10;
    const READS_PER_SECOND: u32 = 50;
    const BURST_SECONDS: u32 = 3;
    let jobs: u32 = setting("DARKROOM_JOBS", 100);
    let (creates, reads) = (60 * CREATES_PER_SECOND, 60 * READS_PER_SECOND);
    let variables = [
        ("REPLICATE_CREATES_PER_MINUTE", &*creates.to_string()),
        ("REPLICATE_READS_PER_MINUTE", &*reads.to_string()),
    ];
    let stack = start(&options_with(name, &variables)).await;
    let others: Vec<_> = (1..workers)
        .map(|_| stack.spawn("worker").unwrap())
        .collect();
    let api = Api::of(&stack);
    let provider = stack.provider.as_ref().unwrap();
    provider.limit(Limits {
        creates_per_minute: Some(creates),
        create_burst: Some(BURST_SECONDS * CREATES_PER_SECOND),
        reads_per_minute: Some(reads),
        read_burst: Some(BURST_SECONDS * READS_PER_SECOND),
    });
    let began = Instant::now();
    let latency = u64::try_from(LATENCY.as_millis()).unwrap();
    let ids = join_all(
        (0..jobs).map(async |_| api.accepted(&job(1, json!({"latency_ms": latency}))).await),
    )
    .await;
    for job in join_all(ids.iter().map(|id| api.ended_within(id, JOB_TIMEOUT))).await {
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    }
    let calls = provider.calls();
    // Temporal dispatches the calls of the first second at once.
    let best = LATENCY.as_secs_f64() + (f64::from(jobs) / f64::from(CREATES_PER_SECOND) - 1.0);
    report(&format!(
        "{jobs} jobs with {workers} workers in {:.1?}, {:.2} of the best possible: {calls:?}",
        began.elapsed(),
        began.elapsed().as_secs_f64() / best
    ));
    assert_eq!(calls.creates, jobs);
    assert!(calls.refused_creates * 20 <= jobs, "{calls:?}");
    assert!(calls.refused_reads * 50 <= calls.reads, "{calls:?}");
    drop(others);
}

/// The account allows a fraction of the configured rate, without bursts, and counts refused calls
/// as well. The worker adapts to it.
#[tokio::test]
async fn an_account_that_allows_less_gets_its_own_pace() {
    let jobs: u32 = setting("DARKROOM_JOBS", 4);
    // A long run uses the rate that Replicate allows accounts with little credit.
    let creates_per_minute = if jobs > 4 { 6 } else { 12 };
    let variables = [("REPLICATE_CREATES_PER_MINUTE", "600")];
    let options = options_with("slow-account", &variables);
    let stack = start(&options).await;
    let api = Api::of(&stack);
    let provider = stack.provider.as_ref().unwrap();
    provider.limit(Limits {
        creates_per_minute: Some(creates_per_minute),
        create_burst: Some(1),
        ..Limits::default()
    });
    let mut ids = Vec::new();
    for _ in 0..jobs {
        ids.push(api.accepted(&job(1, json!({}))).await);
    }
    for job in join_all(ids.iter().map(|id| api.ended_within(id, 2 * JOB_TIMEOUT))).await {
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    }
    let calls = provider.calls();
    report(&format!("{jobs} jobs: {calls:?}"));
    assert_eq!(calls.creates, jobs);
    assert!(calls.refused_creates <= 2 * jobs, "{calls:?}");
    // Temporal may swap neighbours that were accepted within a few milliseconds.
    let bought = provider.predictions().into_iter().rev();
    for (position, prediction) in bought.enumerate() {
        let accepted = ids.iter().position(|id| *id == job_of(&prediction));
        assert!(
            accepted.unwrap().abs_diff(position) <= 2,
            "{accepted:?} was bought at {position}"
        );
    }
}

/// A worker whose token the provider refuses returns its jobs to the task queue and takes no more.
/// The other worker buys for all.
#[tokio::test]
async fn a_worker_that_the_provider_refuses_fails_no_job() {
    const JOBS: usize = 20;
    let options = options_with("refused", &[("METRICS_LISTEN", "127.0.0.1:0")]);
    let stack = start(&options).await;
    let wrong_token = [("REPLICATE_API_TOKEN", "wrong".to_owned())];
    let refused = stack
        .spawn_worker("worker-refused", &options.binary, &wrong_token)
        .unwrap();
    let api = Api::of(&stack);
    until("a worker that is refused", async || {
        let log = log_of(&options.directory, "worker-refused");
        log.contains("nothing is bought until").then_some(())
    })
    .await;
    let run = async |_| api.run(&job(1, json!({}))).await;
    for job in join_all((0..JOBS).map(run)).await {
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    }
    let address = metrics_address(&options.directory, "worker-refused");
    let ready = api.http.get(format!("http://{address}/readyz"));
    assert_eq!(ready.send().await.unwrap().status(), 503);
    drop(refused);
}
