//! Following all jobs of a tenant by server-sent events.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use darkroom_client::types::{job_id::JobId, resource::Job, status::JobStatus};
use darkroom_dev::Stack;
use futures::future::join_all;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::sleep_until;

use super::sse::{Events, open};
use crate::support::{
    api::{Api, Problem},
    harness::{DEADLINE, api_key_entry, assert_prompt, job, options_with, report, start},
};

/// Starts a stack, and returns it with one caller per tenant.
async fn tenants<const N: usize>(
    name: &str,
    tenants: [&str; N],
    variables: &[(&'static str, &str)],
) -> (Stack, [Api; N]) {
    let keys = tenants.map(|tenant| api_key_entry(tenant, tenant));
    let mut options = options_with(name, variables);
    options
        .variables
        .push(("DARKROOM_API_KEYS", keys.join(",")));
    let stack = start(&options).await;
    let callers = tenants.map(|tenant| Api::with_key(stack.api_url(), tenant));
    (stack, callers)
}

async fn follow(api: &Api, last: Option<&str>) -> Events {
    let mut request = api.http.get(format!("{}/v1/events", api.url));
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    Events::of(open(request).await)
}

/// Reads events until these jobs have ended. Returns the last state of each job in the events, and
/// the id of the last event.
async fn until_ended(events: &mut Events, ids: &[&JobId]) -> (HashMap<JobId, Job>, String) {
    let mut missing: HashSet<_> = ids.iter().copied().collect();
    let (mut jobs, mut last) = (HashMap::new(), String::new());
    let give_up = Instant::now() + DEADLINE;
    while !missing.is_empty() {
        assert!(Instant::now() < give_up, "{missing:?} have not ended");
        let event = events.next().await.unwrap();
        last = event.id;
        if let Some(job) = event.job {
            if job.completed_at.is_some() {
                missing.remove(&job.job_id);
            }
            jobs.insert(job.job_id, job);
        }
    }
    (jobs, last)
}

#[tokio::test]
async fn the_feed_has_the_jobs_of_all_processes() {
    let (stack, [acme, other]) = tenants("feed", ["acme", "other"], &[]).await;
    let (_process, address) = stack.spawn_another_api(&[]).await.unwrap();
    let elsewhere = acme.at(address);
    let slow = acme.accepted(&job(1, json!({"latency_ms": 4000}))).await;
    let mut events = follow(&acme, None).await;
    let first = events.next().await.unwrap();
    assert_eq!(first.job.unwrap().job_id, slow, "the present");
    let theirs = other.accepted(&job(1, json!({}))).await;
    let there = elsewhere
        .accepted(&job(2, json!({"latency_ms": 500, "missing": [1]})))
        .await;
    let (jobs, _) = until_ended(&mut events, &[&slow, &there]).await;
    assert_eq!(jobs[&slow].status, JobStatus::Completed);
    assert_eq!(jobs[&slow], acme.get(&slow).await);
    assert_eq!(jobs[&there].status, JobStatus::Partial);
    assert!(!jobs.contains_key(&theirs));

    // A job that is retried appears in the feed as well.
    let retried = elsewhere.act(&there, "retry").await;
    assert!(retried.status().is_success());
    let again = loop {
        let job = events.next().await.unwrap().job;
        if let Some(job) = job.filter(|job| job.retry_count == 1 && job.completed_at.is_some()) {
            break job;
        }
    };
    assert_eq!(again.job_id, there);
}

#[tokio::test]
async fn a_follower_that_reconnects_receives_every_end() {
    let (_stack, [acme]) = tenants("feed-away", ["acme"], &[]).await;
    let mut events = follow(&acme, None).await;
    let before = acme.accepted(&job(1, json!({}))).await;
    let (_, last) = until_ended(&mut events, &[&before]).await;
    drop(events);
    let meanwhile = acme.accepted(&job(1, json!({}))).await;
    acme.ended(&meanwhile).await;
    let mut events = follow(&acme, Some(&last)).await;
    let (jobs, _) = until_ended(&mut events, &[&meanwhile]).await;
    assert_eq!(jobs[&meanwhile].status, JobStatus::Completed);

    // A deleted job is not in the feed, although Temporal and the store still have it.
    let deleted = acme.delete(&meanwhile).await;
    assert_eq!(deleted.status(), StatusCode::ACCEPTED);
    let mut events = follow(&acme, Some(&last)).await;
    let after = acme.accepted(&job(1, json!({}))).await;
    let (jobs, _) = until_ended(&mut events, &[&after]).await;
    assert!(!jobs.contains_key(&meanwhile), "{jobs:?}");

    let long_ago = "2026-01-01T00:00:00Z";
    let mut events = follow(&acme, Some(long_ago)).await;
    let reset = events.next().await.unwrap();
    assert_eq!((reset.name.as_str(), reset.job), ("reset", None));
    let from_now_on = acme.accepted(&job(1, json!({}))).await;
    until_ended(&mut events, &[&from_now_on]).await;
    drop(events);

    let request = acme.http.get(format!("{}/v1/events", acme.url));
    let refused = request.header("Last-Event-ID", "17").send().await.unwrap();
    assert_eq!(
        Problem::of(refused).await,
        Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter")
    );
}

/// Ends of jobs reach followers in time, although a process long-polls few of the histories (here
/// as one of twenty processes) and cannot poll all jobs often.
#[tokio::test]
async fn many_jobs_are_followed_and_each_end_arrives_in_time() {
    const LIMIT: Duration = Duration::from_secs(2);
    let (jobs, processes): (usize, _) = match std::env::var("DARKROOM_FOLLOWED") {
        Ok(jobs) => (jobs.parse().unwrap(), "1"),
        Err(_) => (200, "20"),
    };
    let variables = [
        ("DARKROOM_API_PROCESSES", processes),
        ("DARKROOM_REQUESTS_PER_SECOND", "10000"),
        ("DARKROOM_OPEN_JOBS", "100000"),
    ];
    let (stack, [following, polling]) =
        tenants("feed-many", ["following", "polling"], &variables).await;
    let mut events = follow(&following, None).await;
    let half = jobs / 2;
    // Each tenant creates twenty jobs a second. Once all of them are followed, five end each
    // second: this measures following, not the purchase of thousands of jobs at once.
    let latency = |number: usize| 10_000 + 50 * half + 150 * number;
    let accept = async |api: &Api| -> Vec<JobId> {
        let began = tokio::time::Instant::now();
        let accepted = (0..half).map(async |number| {
            let turn = Duration::from_millis(50) * u32::try_from(number).unwrap();
            sleep_until(began + turn).await;
            let job = job(1, json!({"latency_ms": latency(number)}));
            api.accepted(&job).await
        });
        join_all(accepted).await
    };
    let calls_before = calls(&following, &stack).await;
    let began = Instant::now();
    let (followed, polled) = futures::join!(accept(&following), accept(&polling));
    let event_delay = async {
        let mut delays = BTreeMap::new();
        while delays.len() < half {
            if let Some(job) = events.next().await.unwrap().job
                && let Some(ended) = job.completed_at
            {
                delays.entry(job.job_id).or_insert(since(ended));
            }
        }
        delays.into_values().max().unwrap()
    };
    let poll_delays = polled.iter().map(async |id| {
        let mut etag = String::new();
        loop {
            let read = polling
                .http
                .request(Method::GET, format!("{}/v1/jobs/{id}", polling.url));
            let read = read
                .header("Prefer", "wait=60")
                .header("If-None-Match", &etag);
            let answer = read.send().await.unwrap();
            etag = answer.headers()["etag"].to_str().unwrap().to_owned();
            if answer.status() == StatusCode::OK {
                let job: Job = answer.json().await.unwrap();
                if let Some(ended) = job.completed_at {
                    return since(ended);
                }
            }
        }
    });
    let both = async { futures::join!(event_delay, join_all(poll_delays)) };
    let deadline = Duration::from_secs(120 + u64::try_from(half).unwrap() / 5);
    let (event_delay, poll_delays) = tokio::time::timeout(deadline, both).await.unwrap();
    let poll_delay = poll_delays.into_iter().max().unwrap();
    let seconds = began.elapsed().as_secs();
    let rate = (calls(&following, &stack).await - calls_before) / seconds;
    report(&format!(
        "{} jobs followed for {seconds} s: events of ends came {event_delay:.1?} late at most, \
         long polls {poll_delay:.1?}; {rate} calls of the namespace a second",
        followed.len() + polled.len()
    ));
    assert_prompt("the event of an end", event_delay.max(poll_delay), LIMIT);
}

/// Time since a job ended.
fn since(ended: Timestamp) -> Duration {
    Timestamp::now().duration_since(ended).unsigned_abs()
}

/// Number of calls that the Temporal server has answered.
async fn calls(api: &Api, stack: &Stack) -> u64 {
    let metrics = api.http.get(&stack.temporal.metrics).send().await.unwrap();
    super::reading::counted(&metrics.text().await.unwrap(), "")
}
