//! Workers that are killed or stopped: jobs resume, are paid for once, and drain to other workers.

use std::time::{Duration, Instant};

use darkroom_client::types::{
    provider::CancelOutcome,
    status::{JobStatus, MediaStatus, Stage},
};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::support::{
    api::Api,
    context::TestContext,
    harness::{
        assert_prompt, bought, bought_one, cancel_outcome, count, endless, job, options, report,
        start, transferred_count, until, until_within,
    },
    processes::{
        restart_with_empty_temporal, start_temporal, start_worker, terminate, until_exited,
    },
    workflows::{terminate_workflow, until_submitted},
};

#[tokio::test]
async fn a_job_outlives_its_worker_and_is_paid_for_once() {
    let mut stack = start(&options("worker-killed")).await;
    let api = Api::of(&stack);
    let id = api.accepted(&job(4, json!({"latency_ms": 8000}))).await;
    bought_one(stack.provider.as_ref(), &id).await;
    stack.worker.kill();
    let while_away = api.get(&id).await;
    assert_eq!(
        (while_away.status, while_away.stage),
        (JobStatus::Processing, Some(Stage::Generating))
    );
    assert!(while_away.stale);

    start_worker(&mut stack);
    let job = api.ended(&id).await;
    assert_eq!(
        (job.status, count(&job, MediaStatus::Completed)),
        (JobStatus::Completed, 4),
        "{job:#?}"
    );
    assert_eq!(stack.provider.as_ref().unwrap().predictions().len(), 1);
}

#[tokio::test]
async fn a_job_that_was_accepted_without_a_worker_waits_for_one() {
    let mut stack = start(&options("no-worker")).await;
    let api = Api::of(&stack);
    stack.worker.kill();
    let id = api.accepted(&job(1, json!({}))).await;
    let waiting = api.get(&id).await;
    assert_eq!(
        (waiting.status, waiting.stage),
        (JobStatus::Pending, Some(Stage::Queued))
    );
    start_worker(&mut stack);
    assert_eq!(api.ended(&id).await.status, JobStatus::Completed);

    stack.worker.kill();
    assert_eq!(
        api.get(&id).await.status,
        JobStatus::Completed,
        "an ended job reads without a worker"
    );
}

#[tokio::test]
async fn an_ended_job_outlives_temporals_retention() {
    let options = options("manifest");
    let stack = start(&options).await;
    let job = Api::of(&stack).run(&job(2, json!({"missing": [1]}))).await;
    let stack = restart_with_empty_temporal(stack, &options).await;
    let mut remembered = Api::of(&stack).get(&job.job_id).await;
    for (media, before) in remembered.media.iter_mut().zip(&job.media) {
        media
            .presigned_media_url
            .clone_from(&before.presigned_media_url);
    }
    assert_eq!(remembered, job);
}

#[tokio::test]
async fn a_terminated_worker_drains_and_exits() {
    let mut stack = start(&options("worker-stopped")).await;
    let api = Api::of(&stack);
    let id = api.accepted(&job(2, json!({"latency_ms": 4000}))).await;
    bought_one(stack.provider.as_ref(), &id).await;
    terminate(&stack.worker);
    until_exited(&stack.worker).await;
    start_worker(&mut stack);
    assert_eq!(api.ended(&id).await.status, JobStatus::Completed);
    assert_eq!(stack.provider.as_ref().unwrap().predictions().len(), 1);
    tokio::time::timeout(Duration::from_secs(10), async { drop(stack) })
        .await
        .unwrap();
}

/// Limit of a worker's graceful shutdown, and of the wait of a drained output for another worker.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);

#[tokio::test]
async fn outputs_yield_to_another_worker_when_theirs_drains() {
    const OUTPUTS: u32 = 40;
    let slots = [
        ("PERSIST_CONCURRENCY", "40"),
        ("PERSIST_MEMORY", "160MiB"),
        ("METRICS_LISTEN", "127.0.0.1:0"),
    ];
    let context = TestContext::start(options("drained-outputs"), &slots, None).await;
    let other = context.stack.spawn("worker").unwrap();
    // Half a minute each, so that none is done before the worker drains. Only the first request for
    // each is slow.
    let urls: Vec<_> = (0..OUTPUTS)
        .map(|index| {
            context.source.url(
                &format!("large-{index}"),
                "bytes=12000000&rate=400000&times=1",
            )
        })
        .collect();
    let id = context
        .api
        .accepted(&job(OUTPUTS, json!({"urls": urls, "webhooks": 0})))
        .await;
    // A job that is still generating is drained as well.
    let waiting = context
        .api
        .accepted(&job(
            1,
            json!({"urls": [context.source.url("small", "bytes=1000")], "latency_ms": 8000}),
        ))
        .await;
    until("outputs under way", async || {
        (transferred_count(&context.api.get(&id).await) == OUTPUTS as usize).then_some(())
    })
    .await;

    let (began, terminated_at) = (Instant::now(), Timestamp::now());
    terminate(&context.stack.worker);
    until_exited(&context.stack.worker).await;
    assert_prompt("the end of the worker", began.elapsed(), DRAIN_LIMIT);

    let job = context.api.ended_within(&id, Duration::from_mins(3)).await;
    let stored = count(&job, MediaStatus::Completed);
    assert_eq!(stored, OUTPUTS as usize, "{job:#?}");
    let moved = job.media.iter().filter(|media| media.attempts > Some(1));
    let moved: Vec<_> = moved.collect();
    assert!(!moved.is_empty(), "both workers had some of them");
    let mut longest = Duration::ZERO;
    for media in &moved {
        let started_at = media.started_at.unwrap();
        longest = longest.max(started_at.duration_since(terminated_at).unsigned_abs());
    }
    report(&format!(
        "{} of {OUTPUTS} outputs moved to the other worker, the last after {longest:?}",
        moved.len()
    ));
    assert_prompt("the longest wait of an output", longest, DRAIN_LIMIT);
    let waiting = context.api.ended(&waiting).await;
    assert_eq!(waiting.status, JobStatus::Completed);
    for media in &job.media {
        context.check_bytes(media).await.unwrap();
    }
    let objects = context.objects().await;
    let its = objects.iter().filter(|key| key.contains(&id.to_string()));
    assert_eq!(its.count(), OUTPUTS as usize + 1, "{objects:?}");
    assert_eq!(
        context.stack.provider.as_ref().unwrap().predictions().len(),
        2,
        "nothing is bought twice"
    );
    drop(other);
}

/// Cancels many jobs while no worker runs: the worker that comes back gets all of them at once.
#[tokio::test]
async fn many_jobs_canceled_without_a_worker_stop_soon_after_it_is_back() {
    const JOBS: usize = 60;
    const OUTAGE: Duration = Duration::from_secs(5);
    const LIMIT: Duration = Duration::from_secs(10);
    let mut stack = start(&options("many-canceled")).await;
    let api = Api::of(&stack);
    let ids = join_all((0..JOBS).map(async |_| api.accepted(&endless()).await)).await;
    join_all(ids.iter().map(|id| until_submitted(&stack, id))).await;
    stack.worker.kill();
    let outage_end = Instant::now() + OUTAGE;
    for canceled in join_all(ids.iter().map(|id| api.act(id, "cancel"))).await {
        assert!(canceled.status().is_success());
    }
    tokio::time::sleep_until(outage_end.into()).await;
    start_worker(&mut stack);
    let began = Instant::now();
    for job in join_all(ids.iter().map(|id| api.ended(id))).await {
        assert_eq!(job.status, JobStatus::Canceled, "{job:#?}");
        let outcome = cancel_outcome(&job);
        assert_eq!(outcome, Some(CancelOutcome::Canceled), "{job:#?}");
    }
    let took = began.elapsed();
    report(&format!(
        "{JOBS} jobs canceled {took:.1?} after the worker was back"
    ));
    assert_prompt("canceling them", took, LIMIT);
}

/// Kills worker, api and Temporal: the provider itself cancels the prediction.
#[tokio::test]
#[ignore = "takes until the provider cancels the prediction: a minute beyond the deadline"]
async fn a_prediction_ends_without_worker_api_and_temporal() {
    let options = options("all-gone");
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    let mut request = endless();
    request["deadline_seconds"] = 20.into();
    let id = api.accepted(&request).await;
    bought_one(stack.provider.as_ref(), &id).await;
    stack.worker.kill();
    stack.api.kill();
    stack.temporal.kill();
    let gone = Instant::now();
    until_within(
        "a prediction that has ended",
        Duration::from_secs(100),
        async || {
            let prediction = bought(stack.provider.as_ref(), &id).pop()?;
            prediction
                .status(Timestamp::now())
                .is_terminal()
                .then_some(())
        },
    )
    .await;
    report(&format!("ended after {:.1?}", gone.elapsed()));
    let prediction = bought_one(stack.provider.as_ref(), &id).await;
    assert_eq!(prediction.cancel_calls, 0);
    stack.temporal = start_temporal(&options).await;
    terminate_workflow(&stack, &id).await;
}
