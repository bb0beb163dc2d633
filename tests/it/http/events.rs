//! Following one job by server-sent events.

use std::time::Duration;

use darkroom_client::types::{
    job_id::JobId,
    status::{JobStatus, MediaStatus, Stage},
};
use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::json;

use super::sse::{Event, Events, open};
use crate::support::{
    api::Api,
    harness::{count, job, options, shared, start},
    processes::{start_api, terminate},
};

async fn follow(api: &Api, id: &JobId, last: Option<&str>) -> Response {
    let mut request = api.http.get(format!("{}/v1/jobs/{id}/events", api.url));
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    open(request).await
}

fn status(event: &Event) -> JobStatus {
    event.job.as_ref().unwrap().status
}

fn stage(event: &Event) -> Option<Stage> {
    event.job.as_ref().unwrap().stage
}

/// Progress of a job, in the order of its states.
#[derive(PartialEq, PartialOrd)]
struct Progress {
    /// Position of its stage.
    stage: usize,
    /// Number of stored outputs.
    stored: usize,
}

fn progress(event: &Event) -> Progress {
    let job = event.job.as_ref().unwrap();
    let stages = [
        Some(Stage::Queued),
        Some(Stage::Generating),
        Some(Stage::Persisting),
        Some(Stage::Finalizing),
        None,
    ];
    let stage = stages.iter().position(|stage| *stage == job.stage);
    Progress {
        stage: stage.unwrap(),
        stored: count(job, MediaStatus::Completed),
    }
}

#[tokio::test]
async fn all_followers_of_a_job_see_the_same_states_in_order() {
    let api = Api::of(shared());
    let id = api.accepted(&job(3, json!({"latency_ms": 5000}))).await;
    let followers =
        join_all((0..10).map(|_| async { Events::of(follow(&api, &id, None).await).all().await }))
            .await;
    for events in &followers {
        assert!(events.iter().map(progress).is_sorted(), "{events:#?}");
        assert_eq!(status(events.last().unwrap()), JobStatus::Completed);
        assert!(
            events.windows(2).all(|pair| pair[0].id != pair[1].id),
            "each is a change"
        );
        assert_eq!(events.last(), followers[0].last());
    }
    let stages: Vec<_> = followers[0].iter().map(stage).collect();
    assert!(stages.contains(&Some(Stage::Generating)), "{stages:?}");
}

#[tokio::test]
async fn a_disconnected_follower_resumes_where_it_was() {
    let api = Api::of(shared());
    let id = api.accepted(&job(1, json!({"latency_ms": 5000}))).await;
    let mut events = Events::of(follow(&api, &id, None).await);
    let first = loop {
        let event = events.next().await.unwrap();
        if stage(&event) == Some(Stage::Generating) {
            break event;
        }
    };
    drop(events);
    let rest = Events::of(follow(&api, &id, Some(&first.id)).await)
        .all()
        .await;
    assert!(
        rest.iter().all(|event| event.id != first.id),
        "what is known is not repeated"
    );
    let last = rest.last().unwrap();
    assert_eq!(status(last), JobStatus::Completed);

    let ended = Events::of(follow(&api, &id, None).await).all().await;
    assert_eq!(ended.len(), 1, "an ended job has one state");
    let nothing_new = follow(&api, &id, Some(&ended[0].id)).await;
    assert_eq!(nothing_new.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn streams_end_when_the_api_stops() {
    let mut stack = start(&options("events-stop")).await;
    let api = Api::of(&stack);
    let id = api.accepted(&job(1, json!({"latency_ms": 6000}))).await;
    let stream = follow(&api, &id, None).await;
    terminate(&stack.api);
    let events = tokio::time::timeout(Duration::from_secs(10), Events::of(stream).all())
        .await
        .unwrap();
    assert!(
        events
            .iter()
            .all(|event| status(event) != JobStatus::Completed)
    );
    start_api(&mut stack).await;
    let last = events.last().map(|event| event.id.clone());
    let rest = Events::of(follow(&api, &id, last.as_deref()).await)
        .all()
        .await;
    assert_eq!(status(rest.last().unwrap()), JobStatus::Completed);
}

#[tokio::test]
async fn a_thousand_followers_of_a_hundred_jobs_each_see_the_end() {
    let api = Api::of(shared());
    let ids = join_all(
        (0..100).map(|_| async { api.accepted(&job(1, json!({"latency_ms": 3000}))).await }),
    )
    .await;
    let streams = ids.iter().flat_map(|id| std::iter::repeat_n(id, 10));
    let api = &api;
    let seen =
        join_all(streams.map(async |id| (id, Events::of(follow(api, id, None).await).all().await)))
            .await;
    for (id, events) in seen {
        assert!(events.iter().map(progress).is_sorted(), "{events:#?}");
        assert_eq!(status(events.last().unwrap()), JobStatus::Completed, "{id}");
    }
}
