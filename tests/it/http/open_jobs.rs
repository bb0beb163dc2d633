//! Limit of open jobs per tenant, under many concurrent creates.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::access::{ACME, OTHER, call, start_with_keys};
use crate::support::{
    api::Api,
    harness::{job, until},
};

const LIMIT: usize = 5;

/// Sends concurrent creates and returns how many were admitted. The others must be refused with
/// 429.
async fn admitted(apis: &[&Api], key: &str, creates: usize) -> usize {
    let slow = &job(1, json!({"latency_ms": 60_000}));
    let posts = apis.iter().cycle().take(creates);
    let posts = posts.map(async |api| {
        let answer = call(api, Method::POST, "/v1/jobs", key).json(slow).send();
        answer.await.unwrap().status()
    });
    let statuses = join_all(posts).await;
    let is_answer = |status: &StatusCode| {
        [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS].contains(status)
    };
    assert!(statuses.iter().all(is_answer), "{statuses:?}");
    let accepted = statuses
        .iter()
        .filter(|status| **status == StatusCode::ACCEPTED);
    accepted.count()
}

/// Waits until this number of jobs is listed.
async fn until_listed(api: &Api, key: &str, jobs: usize) {
    let caller = Api::with_key(api.url.clone(), key);
    until("a list of all jobs", async || {
        (caller.list().await.len() == jobs).then_some(())
    })
    .await;
}

#[tokio::test]
async fn concurrent_creates_respect_the_limit_of_open_jobs() {
    let variables = [
        ("DARKROOM_OPEN_JOBS", "5"),
        ("DARKROOM_REQUESTS_PER_SECOND", "10000"),
    ];
    let (stack, api) = start_with_keys("open-jobs", &variables).await;
    let (_process, address) = stack.spawn_another_api(&[]).await.unwrap();
    let other = api.at(address);
    assert_eq!(admitted(&[&api], ACME, 50).await, LIMIT);
    until_listed(&api, ACME, LIMIT).await;
    assert_eq!(admitted(&[&api, &other], ACME, 20).await, 0);

    // Each process knows only its own creates until it counts the open jobs in Temporal.
    let both = admitted(&[&api, &other], OTHER, 50).await;
    assert!((LIMIT..=2 * LIMIT).contains(&both), "{both}");
    until_listed(&api, OTHER, both).await;
    let later = admitted(&[&api, &other], OTHER, 20).await;
    assert_eq!(later, 0);
}
