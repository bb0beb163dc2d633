//! Servers that go away and come back.

use reqwest::StatusCode;
use serde_json::{Value, json};

use darkroom::dev::{temporal::TemporalServer, temporal_cli};

use crate::harness::{Api, job, options, start, until};

#[tokio::test]
async fn without_temporal_the_api_says_so_and_recovers_by_itself() {
    let options = options("temporal-away");
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    stack.temporal.kill();

    let response = api.post(&job(1, json!({}))).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:darkroom:problem:temporal-unavailable");
    let alive = api.http.get(format!("{}/healthz", api.url)).send().await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    let ready = api.http.get(format!("{}/readyz", api.url)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);

    let cli = temporal_cli::locate(&|_: &str| {}).await.unwrap();
    stack.temporal = TemporalServer::start(&cli, &options).await.unwrap();
    let id = until("accepted job", async || {
        let response = api.post(&job(1, json!({}))).await;
        match response.status() {
            StatusCode::ACCEPTED => {
                let job: Value = response.json().await.unwrap();
                Some(job["job_id"].as_str().unwrap().to_owned())
            }
            status => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                None
            }
        }
    })
    .await;
    assert_eq!(api.ended(&id).await["status"], "completed");
}
