//! Idempotent creates: one job per `Idempotency-Key`, across processes, kills and Temporal's
//! retention.

use darkroom_client::types::{job_id::JobId, resource::Job, status::JobStatus};
use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    api::{Api, job_in},
    harness::{job, options, shared, start},
    processes::{restart_with_empty_temporal, start_api},
};

async fn post(api: &Api, key: &str, body: &Value) -> Response {
    api.post_with_key(key, body).await.unwrap()
}

async fn id_of(response: Response) -> JobId {
    job_in(response).await.job_id
}

#[tokio::test]
async fn a_key_leads_to_one_job() {
    let api = Api::of(shared());
    let request = job(1, json!({}));
    let first = post(&api, "one-job", &request).await;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    assert!(!first.headers().contains_key("idempotent-replayed"));
    let location = first.headers()["location"].to_str().unwrap().to_owned();
    let id = id_of(first).await;
    assert_eq!(location, format!("/v1/jobs/{id}"));

    let again = post(&api, "one-job", &request).await;
    assert!(again.status().is_success());
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(id_of(again).await, id);

    api.ended(&id).await;
    let ended = post(&api, "one-job", &request).await;
    assert_eq!(
        (
            ended.status(),
            &ended.headers()["idempotent-replayed"].to_str().unwrap()
        ),
        (StatusCode::OK, &"true")
    );
    let ended: Job = ended.json().await.unwrap();
    assert_eq!((&ended.job_id, ended.status), (&id, JobStatus::Completed));

    let other = post(&api, "one-job", &job(2, json!({}))).await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = other.json().await.unwrap();
    assert_eq!(problem["type"], "urn:darkroom:problem:idempotency-mismatch");

    let another = id_of(post(&api, "another-job", &request).await).await;
    assert_ne!(another, id);
}

#[tokio::test]
async fn a_hundred_at_once_through_two_processes_make_one_job() {
    let stack = start(&options("idempotency")).await;
    let api = Api::of(&stack);
    let (_second, address) = stack.spawn_another_api(&[]).await.unwrap();
    let second = api.at(address);
    let request = job(1, json!({"latency_ms": 500}));
    let answers = join_all((0..100).map(|number| {
        post(
            if number % 2 == 0 { &api } else { &second },
            "same",
            &request,
        )
    }));
    let (mut fresh, mut unanswered) = (0, 0);
    let mut ids = Vec::new();
    for response in answers.await {
        // Temporal took longer than the api waits, which may happen to the request that starts the
        // job as well.
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            unanswered += 1;
            continue;
        }
        assert!(response.status().is_success(), "{}", response.status());
        fresh += u32::from(!response.headers().contains_key("idempotent-replayed"));
        ids.push(id_of(response).await);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert!(
        fresh == 1 || (fresh == 0 && unanswered > 0),
        "{fresh} say that the job is new"
    );
    assert_eq!(api.ended(&ids[0]).await.status, JobStatus::Completed);
    assert_eq!(
        second.get(&ids[0]).await,
        api.get(&ids[0]).await,
        "both processes agree"
    );
    assert_eq!(stack.provider.as_ref().unwrap().predictions().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_outlives_the_api_and_temporals_retention() {
    let options = options("idempotency-kept");
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    let request = job(1, json!({}));
    let id = id_of(post(&api, "kept", &request).await).await;
    stack.api.kill();
    start_api(&mut stack).await;
    assert_eq!(id_of(post(&api, "kept", &request).await).await, id);
    api.ended(&id).await;

    let stack = restart_with_empty_temporal(stack, &options).await;
    let api = Api::of(&stack);
    let again = post(&api, "kept", &request).await;
    assert_eq!(
        (
            again.status(),
            again.headers().contains_key("idempotent-replayed")
        ),
        (StatusCode::OK, true)
    );
    assert_eq!(id_of(again).await, id);
    let other = post(&api, "kept", &job(2, json!({}))).await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        stack.provider.as_ref().unwrap().predictions().len(),
        1,
        "nothing is paid for again"
    );
}
