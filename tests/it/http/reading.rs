//! Reading a job: conditional requests, long polls, and reads while processes are down.

use std::time::{Duration, Instant};

use darkroom_client::types::{
    job_id::JobId,
    resource::Job,
    status::{JobStatus, MediaStatus, Stage},
};
use reqwest::{Response, StatusCode};
use serde_json::json;
use temporalio_client::WorkflowDescribeOptions;

use crate::support::{
    api::Api,
    harness::{count, job, options, options_with, report, setting, shared, start, until},
    processes::{start_api, start_worker},
    rpc_gate::{Held, Rpc, RpcGate},
    source::SourceServer,
    workflows::workflow_handle,
};

async fn get(api: &Api, id: &JobId, headers: &[(&str, &str)]) -> Response {
    let mut request = api.http.get(format!("{}/v1/jobs/{id}", api.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
        .unwrap_or_default()
}

#[tokio::test]
async fn an_unchanged_job_returns_304() {
    let api = Api::of(shared());
    let id = api.accepted(&job(1, json!({}))).await;
    api.ended(&id).await;
    let first = get(&api, &id, &[]).await;
    let etag = header(&first, "etag").to_owned();
    assert!(
        !first.headers().contains_key("retry-after"),
        "there is nothing to wait for"
    );
    let again = get(&api, &id, &[("If-None-Match", &etag)]).await;
    assert_eq!(
        (again.status(), header(&again, "etag")),
        (StatusCode::NOT_MODIFIED, etag.as_str())
    );
    assert!(again.bytes().await.unwrap().is_empty());
    let other = get(&api, &id, &[("If-None-Match", "\"other\"")]).await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn creating_can_wait_for_the_end() {
    let api = Api::of(shared());
    let url = format!("{}/v1/jobs", api.url);
    let request = job(1, json!({"latency_ms": 700}));
    let waited = api
        .http
        .post(&url)
        .header("Prefer", "wait=30")
        .json(&request)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (waited.status(), header(&waited, "preference-applied")),
        (StatusCode::OK, "wait=30")
    );
    let done: Job = waited.json().await.unwrap();
    assert_eq!(done.status, JobStatus::Completed);

    let began = Instant::now();
    let slow = job(1, json!({"latency_ms": 4000}));
    let waited = api
        .http
        .post(&url)
        .header("Prefer", "wait=1")
        .json(&slow)
        .send()
        .await
        .unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        (waited.status(), header(&waited, "preference-applied")),
        (StatusCode::ACCEPTED, "wait=1")
    );
    assert!(!header(&waited, "retry-after").is_empty());
}

#[tokio::test]
async fn reading_can_wait_for_a_change() {
    let api = Api::of(shared());
    let id = api.accepted(&job(1, json!({"latency_ms": 5000}))).await;
    let first = get(&api, &id, &[]).await;
    let mut etag = header(&first, "etag").to_owned();
    let mut stages = vec![first.json::<Job>().await.unwrap().stage];
    loop {
        let response = get(
            &api,
            &id,
            &[("Prefer", "wait=20"), ("If-None-Match", &etag)],
        )
        .await;
        assert_eq!(
            response.status(),
            StatusCode::OK,
            "a change came before the time was over"
        );
        header(&response, "etag").clone_into(&mut etag);
        let job: Job = response.json().await.unwrap();
        stages.push(job.stage);
        if job.status == JobStatus::Completed {
            break;
        }
    }
    assert!(stages.contains(&Some(Stage::Generating)), "{stages:?}");
    assert_eq!(stages.last(), Some(&None));
}

#[tokio::test]
async fn two_processes_agree_and_read_jobs_without_workers() {
    let mut stack = start(&options("reading")).await;
    let api = Api::of(&stack);
    let (_second, address) = stack.spawn_another_api(&[]).await.unwrap();
    let second = api.at(address);
    let partial = api.run(&job(2, json!({"missing": [1]}))).await;
    let id = &partial.job_id;
    assert_eq!(second.get(id).await, partial);
    let (here, there) = (get(&api, id, &[]).await, get(&second, id, &[]).await);
    assert_eq!(header(&here, "etag"), header(&there, "etag"));

    stack.worker.kill();
    let waiting = api.accepted(&job(1, json!({}))).await;
    for api in [&api, &second] {
        let read = api.get(&waiting).await;
        assert_eq!((read.status, read.stale), (JobStatus::Pending, true));
        assert_eq!(api.get(id).await.status, JobStatus::Partial);
    }
    start_worker(&mut stack);
    assert_eq!(second.ended(&waiting).await.status, JobStatus::Completed);
    stack.api.kill();
    start_api(&mut stack).await;
    assert_eq!(api.get(&waiting).await.status, JobStatus::Completed);
}

#[tokio::test]
async fn stored_outputs_are_readable_without_workers() {
    let source = SourceServer::start().await.unwrap();
    let allow = source.address.to_string();
    let stack = start(&options_with("reading-away", &[("SOURCE_ALLOW", &allow)])).await;
    let api = Api::of(&stack);
    let urls = [
        source.url("a", "bytes=1000"),
        source.url("b", "bytes=2000"),
        source.url("c", "bytes=1000000&rate=20000"),
        source.url("d", "bytes=1000000&rate=20000"),
    ];
    let id = api.accepted(&job(4, json!({"urls": urls}))).await;
    let stored = until("two stored outputs", async || {
        let job = api.get(&id).await;
        (count(&job, MediaStatus::Completed) == 2).then_some(job)
    })
    .await;
    // The end of the task that recorded the second output is in the history as well: a read before
    // it would be of an older history.
    let handle = workflow_handle(&stack, &id).await;
    until("a workflow without a task", async || {
        let description = handle.describe(WorkflowDescribeOptions::default()).await;
        let description = description.unwrap();
        description
            .raw()
            .pending_workflow_task
            .is_none()
            .then_some(())
    })
    .await;
    let idle = Instant::now();
    until(
        "a read that is later than what the api caches",
        async || {
            let job = api.get(&id).await;
            (idle.elapsed() > Duration::from_secs(1)).then_some(job)
        },
    )
    .await;
    stack.worker.kill();
    // The first api has seen the state before and need not query. The other one answers from what
    // it can read without a worker, and marks the job as stale.
    let (_process, address) = stack.spawn_api(&[]).await.unwrap();
    let readiness = format!("http://{address}/readyz");
    until("an api without workers", async || {
        let ready = api.http.get(&readiness).send().await;
        ready
            .is_ok_and(|ready| ready.status().is_success())
            .then_some(())
    })
    .await;
    let other = api.at(address);
    let away = until("a read without a worker", async || {
        let job = other.get(&id).await;
        job.stale.then_some(job)
    })
    .await;
    assert!(!api.get(&id).await.stale);
    assert_eq!(away.stage, stored.stage);
    assert_eq!(away.provider, stored.provider);
    for (media, before) in away.media.iter().zip(&stored.media) {
        assert_eq!(
            (media.status, &media.sha256),
            (before.status, &before.sha256)
        );
    }
    let redirect = api.get_path(&format!("/v1/jobs/{id}/media/0")).await;
    assert_eq!(redirect.status(), StatusCode::FOUND);
}

/// Counts the queries behind a polling caller. A query costs a worker's time and a billed action; a
/// description of the workflow does not.
#[tokio::test]
async fn polling_a_job_causes_few_queries() {
    const INTERVAL: Duration = Duration::from_millis(250);
    let seconds: u64 = setting("DARKROOM_GENERATION", 8);
    let stack = start(&options("polled")).await;
    let api = Api::of(&stack);
    let slow = job(4, json!({"latency_ms": seconds * 1000}));
    // A first job, so that the queries of starting up are not counted.
    api.run(&job(1, json!({}))).await;
    let queries = async || {
        let metrics = api.http.get(&stack.temporal.metrics).send().await.unwrap();
        counted(&metrics.text().await.unwrap(), "QueryWorkflow")
    };
    let before = queries().await;
    let id = api.accepted(&slow).await;
    let polled = async {
        let mut reads = 1;
        while api.get(&id).await.status != JobStatus::Completed {
            tokio::time::sleep(INTERVAL).await;
            reads += 1;
        }
        reads
    };
    let limit = Duration::from_secs(seconds + 60);
    let reads: u64 = tokio::time::timeout(limit, polled).await.unwrap();
    let queries = queries().await - before;
    report(&format!(
        "{reads} reads of a generation of {seconds} s made {queries} queries"
    ));
    assert!(queries <= 8, "{reads} reads made {queries} queries");
}

/// Number of calls that Temporal's frontend has answered, for operations whose name begins with
/// `name`.
pub(super) fn counted(metrics: &str, name: &str) -> u64 {
    let operation = format!("operation=\"{name}");
    let lines = metrics.lines().filter(|line| {
        line.starts_with("service_requests{")
            && line.contains("service_name=\"frontend\"")
            && line.contains(&operation)
    });
    let counts = lines.map(|line| {
        let (_, count) = line.rsplit_once(' ').unwrap();
        count.parse::<u64>().unwrap()
    });
    counts.sum()
}

/// Holds the workflow task that schedules the activities of the outputs, so that no query is
/// answered.
#[tokio::test]
async fn a_job_whose_outputs_are_known_reads_as_persisting() {
    let options = options("outputs-known");
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    let gate = RpcGate::start(&stack.temporal.address).await;
    stack.worker.kill();
    let id = api.accepted(&job(2, json!({}))).await;
    gate.hold(&id, Rpc::Commands("persist"), Held::Request);
    let gated = [("TEMPORAL_ADDRESS", gate.address.clone())];
    stack.worker = stack
        .spawn_worker("worker-gated", &options.binary, &gated)
        .unwrap();
    until("outputs that are known", async || {
        gate.is_held(&id).then_some(())
    })
    .await;
    let read = api.get(&id).await;
    assert_eq!((read.stage, read.stale), (Some(Stage::Persisting), true));
    gate.open();
    assert_eq!(api.ended(&id).await.status, JobStatus::Completed);
}

/// A retry begins with the outputs of the run before, which say nothing of the new prediction.
#[tokio::test]
async fn a_regenerated_job_reads_as_queued_until_it_is_bought() {
    let mut stack = start(&options("regenerated")).await;
    let api = Api::of(&stack);
    let job = api.run(&job(2, json!({"missing": [1]}))).await;
    assert_eq!(job.status, JobStatus::Partial, "{job:#?}");
    stack.worker.kill();
    let regenerate = json!({"regenerate": true});
    let retried = api.retry(&job.job_id, None, &regenerate).await;
    assert_eq!(retried.status(), StatusCode::ACCEPTED);
    let read = api.get(&job.job_id).await;
    let stage = (read.status, read.stage, read.stale);
    assert_eq!(stage, (JobStatus::Pending, Some(Stage::Queued), true));
    start_worker(&mut stack);
    api.ended(&job.job_id).await;
}
