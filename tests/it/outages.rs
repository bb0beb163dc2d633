//! Outages of Temporal: the api answers 503 and recovers by itself, and finished work is neither
//! lost nor repeated.

use std::time::Duration;

use darkroom_client::types::{
    resource::Job,
    status::{JobStatus, MediaStatus},
};
use futures::future::join_all;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    api::Api,
    context::TestContext,
    harness::{count, job, options, start, until},
    processes::start_temporal,
};

#[tokio::test]
async fn without_temporal_the_api_answers_503_and_recovers_by_itself() {
    let options = options("temporal-away");
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    stack.temporal.kill();

    let response = api.post(&job(1, json!({}))).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:darkroom:problem:temporal-unavailable");
    let alive = api.get_path("/healthz").await;
    assert_eq!(alive.status(), StatusCode::OK);
    let ready = api.get_path("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);

    stack.temporal = start_temporal(&options).await;
    let id = until("accepted job", async || {
        let response = api.post(&job(1, json!({}))).await;
        match response.status() {
            StatusCode::ACCEPTED => Some(response.json::<Job>().await.unwrap().job_id),
            status => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                None
            }
        }
    })
    .await;
    assert_eq!(api.ended(&id).await.status, JobStatus::Completed);
}

/// Length of the outage: longer than the SDK retries to report a result, and longer than the
/// heartbeat timeout of an output.
const OUTAGE: Duration = Duration::from_secs(45);

/// Length of the end of an output that is held until the outage, in bytes.
const HELD: u64 = 50_000;

#[tokio::test]
async fn work_done_during_an_outage_of_temporal_is_neither_lost_nor_repeated() {
    let options = options("temporal-away-for-long");
    // Without provider webhooks: the provider would stop retrying them before Temporal is back.
    let variables = [
        ("PERSIST_STREAM_MAX", "32MiB"),
        ("REPLICATE_WEBHOOK_SECRET", ""),
    ];
    // The embedded store needs many steps to complete a multipart upload, and the SDK gives an
    // attempt 15 s: on a loaded machine that may be too few.
    let (mut context, _gateway) = TestContext::on_gateway(options.clone(), &variables).await;
    let api = &context.api;
    // Their predictions end during the outage.
    let mut generating = Vec::new();
    for number in 0..5 {
        let url = context.source.url(&format!("small-{number}"), "bytes=1000");
        generating.push(
            api.accepted(&job(
                1,
                json!({"urls": [url], "latency_ms": 20_000, "webhooks": 0}),
            ))
            .await,
        );
    }
    // The outputs of this job are stored during the outage: their ends are held until then. Each
    // can be downloaded only once. One is uploaded in one request, one is streamed, one is a
    // multipart upload.
    let sizes = [
        ("one-request", 100_000),
        ("streamed", 20_000_000),
        ("in-parts", 70_000_000),
    ];
    let urls: Vec<_> = sizes
        .iter()
        .map(|(name, bytes)| {
            let query = format!("bytes={bytes}&serves=1&hold={}", bytes - HELD);
            context.source.url(name, &query)
        })
        .collect();
    let persisting = api
        .accepted(&job(3, json!({"urls": urls, "webhooks": 0})))
        .await;
    until("outputs under way", async || {
        sizes
            .iter()
            .all(|(name, bytes)| context.source.bytes_sent(name) == bytes - HELD)
            .then_some(())
    })
    .await;
    let predictions = || context.stack.provider.as_ref().unwrap().predictions();
    until("predictions", async || {
        (predictions().len() == 6).then_some(())
    })
    .await;

    context.stack.temporal.kill();
    let outage_end = Instant::now() + OUTAGE;
    context.source.release();
    until("predictions that have ended", async || {
        predictions()
            .iter()
            .all(|prediction| prediction.status(Timestamp::now()).is_terminal())
            .then_some(())
    })
    .await;
    until("outputs that are stored", async || {
        (context.objects().await.len() >= 3).then_some(())
    })
    .await;
    tokio::time::sleep_until(outage_end).await;
    context.stack.temporal = start_temporal(&options).await;

    let timeout = Duration::from_mins(2);
    let ended = join_all(
        generating
            .iter()
            .map(|id| context.api.ended_within(id, timeout)),
    )
    .await;
    for job in ended {
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    }
    let job = context.api.ended_within(&persisting, timeout).await;
    assert_eq!(count(&job, MediaStatus::Completed), 3, "{job:#?}");
    for media in &job.media {
        context.check_bytes(media).await.unwrap();
    }
    assert_eq!(predictions().len(), 6, "nothing is bought twice");
}
