//! Webhooks of the provider, genuine and forged.

use std::time::Duration;

use darkroom_client::types::status::{JobStatus, Stage};
use darkroom_dev::provider::sign_webhook;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::json;
use temporalio_common::protos::temporal::api::{enums::v1::EventType, history::v1::HistoryEvent};

use crate::support::{
    api::Api,
    harness::{bought, bought_one, endless, job, shared, until},
    workflows::{history, is_scheduled},
};

#[tokio::test]
async fn reports_of_the_provider_have_one_effect_or_none() {
    let api = Api::of(shared());
    let dropped = api
        .run(&job(1, json!({"webhooks": 0, "latency_ms": 500})))
        .await;
    let status = dropped.status;
    assert_eq!(status, JobStatus::Completed, "polling alone will do");

    let id = api
        .accepted(&job(1, json!({"webhooks": 10, "latency_ms": 4000})))
        .await;
    assert_eq!(api.ended(&id).await.status, JobStatus::Completed);
    let signals = history(&id)
        .await
        .iter()
        .filter(|event| event.event_type() == EventType::WorkflowExecutionSignaled)
        .count();
    assert!(signals <= 1, "{signals} signals of one report");
    assert_eq!(bought(shared().provider.as_ref(), &id).len(), 1);
}

#[tokio::test]
async fn a_forged_report_is_refused_and_a_genuine_one_is_accepted() {
    let api = Api::of(shared());
    let id = api.accepted(&endless()).await;
    let prediction = bought_one(shared().provider.as_ref(), &id).await;
    let now = Timestamp::now();
    for forged in ["v1,AAAA", ""] {
        let forge = |_: &str, _: &str, _: &str| forged.to_owned();
        let answered = api.report(&id, &prediction, now, forge).await;
        assert_eq!(answered, StatusCode::UNAUTHORIZED);
    }
    let old = now - Duration::from_mins(10);
    let answered = api.report(&id, &prediction, old, sign_webhook).await;
    assert_eq!(answered, StatusCode::UNAUTHORIZED);
    assert_eq!(api.get(&id).await.stage, Some(Stage::Generating));

    // A report only triggers a poll: the result is always read from the provider itself.
    let answered = api.report(&id, &prediction, now, sign_webhook).await;
    assert_eq!(answered, StatusCode::NO_CONTENT);
    until("collect", async || {
        let events = history(&id).await;
        let is_collect = |event: &HistoryEvent| is_scheduled(event, "collect");
        events.iter().any(is_collect).then_some(())
    })
    .await;
    api.act(&id, "cancel").await;
    let job = api.ended(&id).await;
    assert_eq!(job.status, JobStatus::Canceled);
    assert!(job.media.is_empty());
}
