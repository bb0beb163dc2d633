//! Reading a job: conditional requests, long polls, and reads while processes are down.

use std::time::{Duration, Instant};

use darkroom_client::types::{
    job_id::JobId,
    resource::Job,
    status::{JobStatus, MediaStatus, Stage},
};
use darkroom_dev::Options;
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::support::{
    harness::{Api, count, job, options, report, shared, start, until},
    source::SourceServer,
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
async fn a_job_that_is_known_is_not_sent_again() {
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
    let id = api.accepted(&job(1, json!({"latency_ms": 1500}))).await;
    let first = get(&api, &id, &[]).await;
    let mut seen = vec![(
        header(&first, "etag").to_owned(),
        first.json::<Job>().await.unwrap(),
    )];
    loop {
        let etag = seen.last().unwrap().0.clone();
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
        let etag = header(&response, "etag").to_owned();
        let job: Job = response.json().await.unwrap();
        let ended = job.status == JobStatus::Completed;
        seen.push((etag, job));
        if ended {
            break;
        }
    }
    let stages: Vec<_> = seen.iter().map(|(_, job)| job.stage).collect();
    assert!(stages.contains(&Some(Stage::Generating)), "{stages:?}");
    assert_eq!(stages.last(), Some(&None));
}

#[tokio::test]
async fn two_processes_agree_and_workers_may_be_away() {
    let mut stack = start(&options("reading")).await;
    let api = Api::of(&stack);
    let (_second, address) = stack.spawn_another_api(&[]).await.unwrap();
    let second = api.at(address);
    let partial = api.run(&job(2, json!({"missing": [1]}))).await;
    let id = &partial.job_id;
    assert_eq!(second.get(id).await, partial);
    let tags = (get(&api, id, &[]).await, get(&second, id, &[]).await);
    assert_eq!(header(&tags.0, "etag"), header(&tags.1, "etag"));

    stack.worker.kill();
    let waiting = api.accepted(&job(1, json!({}))).await;
    for api in [&api, &second] {
        let read = api.get(&waiting).await;
        assert_eq!((read.status, read.stale), (JobStatus::Pending, true));
        assert_eq!(api.get(id).await.status, JobStatus::Partial);
    }
    stack.worker = stack.spawn("worker").unwrap();
    assert_eq!(second.ended(&waiting).await.status, JobStatus::Completed);
    stack.api.kill();
    stack.api = stack.spawn("api").unwrap();
    stack.until_ready().await.unwrap();
    assert_eq!(api.get(&waiting).await.status, JobStatus::Completed);
}

#[tokio::test]
async fn what_is_stored_stays_known_while_workers_are_away() {
    let source = SourceServer::start().await.unwrap();
    let allow = vec![("SOURCE_ALLOW", source.address.to_string())];
    let stack = start(&Options {
        variables: allow,
        ..options("reading-away")
    })
    .await;
    let api = Api::of(&stack);
    let url = |name: &str| format!("http://{}/{name}", source.address);
    let urls = [
        url("a?bytes=1000"),
        url("b?bytes=2000"),
        url("c?bytes=1000000&rate=20000"),
        url("d?bytes=1000000&rate=20000"),
    ];
    let id = api.accepted(&job(4, json!({"urls": urls}))).await;
    let stored = until("two stored outputs", async || {
        let job = api.get(&id).await;
        (count(&job, MediaStatus::Completed) == 2).then_some(job)
    })
    .await;
    stack.worker.kill();
    // The first api has seen the state before and need not query. The other one answers from what
    // it can read without a worker, and marks the job as stale.
    let (_process, address) = stack.spawn_another_api(&[]).await.unwrap();
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
    let lead = api
        .http
        .get(format!("{}/v1/jobs/{id}/media/0", api.url))
        .send()
        .await
        .unwrap();
    assert_eq!(lead.status(), StatusCode::FOUND);
}

/// Counts the queries behind a polling caller. A query costs a worker's time and a billed action; a
/// description of the workflow does not.
#[tokio::test]
async fn who_asks_again_and_again_costs_temporal_next_to_nothing() {
    const PACE: Duration = Duration::from_millis(250);
    let seconds: u64 = std::env::var("DARKROOM_GENERATION").map_or(8, |set| set.parse().unwrap());
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
            tokio::time::sleep(PACE).await;
            reads += 1;
        }
        reads
    };
    let limit = Duration::from_secs(seconds + 60);
    let reads: u64 = tokio::time::timeout(limit, polled).await.unwrap();
    let asked = queries().await - before;
    report(&format!(
        "{reads} reads of a generation of {seconds} s made {asked} queries"
    ));
    assert!(asked <= 8, "{reads} reads made {asked} queries");
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
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum()
}
