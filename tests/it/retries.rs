//! What a retry pays for: nothing, unless it is asked to.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Api, bought, endless, job, problem_of, shared, until};

#[tokio::test]
async fn a_partial_job_retried_fetches_what_is_missing_and_pays_nothing() {
    let api = Api::of(shared());
    let partial = api
        .run(&job(3, json!({"missing": [1], "missing_for_ms": 1500})))
        .await;
    assert_eq!(partial["status"], "partial");
    let id = partial["job_id"].as_str().unwrap();
    let provider = shared()
        .provider
        .as_ref()
        .unwrap()
        .base_url
        .trim_end_matches("/v1")
        .to_owned();
    let file = format!(
        "{provider}/files/{}/1.webp",
        partial["provider"]["prediction_id"].as_str().unwrap()
    );
    until("file", async || {
        api.http
            .get(&file)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
            .then_some(())
    })
    .await;

    let accepted: Value = api.act(id, "retry").await.json().await.unwrap();
    assert_eq!(
        (&accepted["status"], &accepted["retry_count"]),
        (&json!("pending"), &json!(1))
    );
    let retried = api.ended(id).await;
    assert_eq!(
        (&retried["status"], &retried["retry_count"]),
        (&json!("completed"), &json!(1)),
        "{retried:#}"
    );
    for index in [0, 2] {
        assert_eq!(
            retried["media"][index]["completed_at"], partial["media"][index]["completed_at"],
            "kept, not fetched"
        );
    }
    assert_eq!(retried["created_at"], partial["created_at"]);
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 1);
    assert_eq!(
        problem_of(api.act(id, "retry").await).await,
        (StatusCode::CONFLICT, "nothing-to-retry".to_owned())
    );
}

#[tokio::test]
async fn what_would_cost_again_is_done_only_when_asked_for() {
    let api = Api::of(shared());
    let failed = api.run(&job(2, json!({"fail": "NSFW content"}))).await;
    let id = failed["job_id"].as_str().unwrap();
    assert_eq!(
        problem_of(api.act(id, "retry").await).await,
        (StatusCode::CONFLICT, "generation-needed".to_owned())
    );
    let regenerate = api
        .http
        .post(format!("{}/v1/jobs/{id}/retry", api.url))
        .json(&json!({"regenerate": true}));
    assert_eq!(
        regenerate.send().await.unwrap().status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(api.ended(id).await["retry_count"], 1);
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 2);

    let removed = api
        .run(&job(2, json!({"missing": [0], "retention_ms": 0})))
        .await;
    let id = removed["job_id"].as_str().unwrap();
    assert_eq!(api.act(id, "retry").await.status(), StatusCode::ACCEPTED);
    let still = api.ended(id).await;
    assert_eq!(
        (
            &still["media"][0]["error"]["type"],
            bought(shared().provider.as_ref(), id).len()
        ),
        (&json!("SourceExpired"), 1),
        "{still:#}"
    );
}

#[tokio::test]
async fn a_running_job_is_not_retried() {
    let api = Api::of(shared());
    let id = api.accepted(&endless()).await;
    assert_eq!(
        problem_of(api.act(&id, "retry").await).await,
        (StatusCode::CONFLICT, "not-ended".to_owned())
    );
    api.act(&id, "cancel").await;
    api.ended(&id).await;
}

/// As axios, `curl -H` and generated clients send it.
#[tokio::test]
async fn an_empty_body_with_a_type_is_no_body() {
    let api = Api::of(shared());
    let partial = api
        .run(&job(2, json!({"missing": [1], "webhooks": 0})))
        .await;
    let id = partial["job_id"].as_str().unwrap();
    let url = format!("{}/v1/jobs/{id}/retry", api.url);
    let retry = api
        .http
        .post(url)
        .header("Content-Type", "application/json");
    let retry = retry.body(String::new());
    assert_eq!(retry.send().await.unwrap().status(), StatusCode::ACCEPTED);
    api.ended(id).await;
}
