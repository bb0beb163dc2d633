//! Jobs that are canceled or reach their deadline: their prediction is canceled, and stored outputs
//! are kept.

use darkroom_client::types::{
    failure::FailureType,
    job_id::JobId,
    provider::{CancelOutcome, PredictionStatus},
    status::{JobStatus, MediaStatus, Stage},
};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{
    api::{Api, Problem},
    harness::{
        bought_one, cancel_outcome, count, endless, failure_type, job, options, shared, start,
    },
    processes::start_worker,
};

#[tokio::test]
async fn a_job_canceled_over_http_stops_its_prediction_once() {
    let api = Api::of(shared());
    let id = api.accepted(&endless()).await;
    bought_one(shared().provider.as_ref(), &id).await;
    assert_eq!(api.act(&id, "cancel").await.status(), StatusCode::ACCEPTED);
    assert_canceled(&api, &id, 1).await;

    assert_eq!(
        Problem::of(api.act(&id, "cancel").await).await,
        Problem::new(StatusCode::CONFLICT, "already-ended")
    );
    assert_eq!(
        Problem::of(api.act(&id, "retry").await).await,
        Problem::new(StatusCode::CONFLICT, "nothing-to-retry")
    );
    let unknown = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap();
    for action in ["cancel", "retry"] {
        assert_eq!(
            Problem::of(api.act(&unknown, action).await).await,
            Problem::new(StatusCode::NOT_FOUND, "not-found")
        );
    }
}

/// Asserts that a job ends as canceled, and that its prediction was canceled with this many calls.
async fn assert_canceled(api: &Api, id: &JobId, cancel_calls: u32) {
    let job = api.ended(id).await;
    assert_eq!(job.status, JobStatus::Canceled);
    assert_eq!(cancel_outcome(&job), Some(CancelOutcome::Canceled));
    let prediction = bought_one(shared().provider.as_ref(), id).await;
    assert_eq!(
        (prediction.status(Timestamp::now()), prediction.cancel_calls),
        (PredictionStatus::Canceled, cancel_calls)
    );
}

/// The provider neither shows the prediction nor answers the first cancel calls.
#[tokio::test]
async fn a_prediction_that_cannot_be_read_is_canceled_once_the_provider_answers() {
    let api = Api::of(shared());
    let dev = json!({"latency_ms": 3_600_000, "not_found_for_ms": 3_600_000, "refuse_cancels": 2});
    let id = api.accepted(&job(1, dev)).await;
    bought_one(shared().provider.as_ref(), &id).await;
    api.act(&id, "cancel").await;
    assert_canceled(&api, &id, 3).await;
}

#[tokio::test]
async fn a_job_canceled_while_it_persists_keeps_what_is_stored() {
    let api = Api::of(shared());
    let id = api
        .accepted(&job(3, json!({"missing": [], "fail_fetches": 1000})))
        .await;
    api.until_stage(&id, Stage::Persisting).await;
    api.act(&id, "cancel").await;
    let job = api.ended(&id).await;
    assert_eq!(
        (job.status, count(&job, MediaStatus::Canceled)),
        (JobStatus::Canceled, 3),
        "{job:#?}"
    );
    assert_eq!(
        bought_one(shared().provider.as_ref(), &id)
            .await
            .cancel_calls,
        0,
        "the prediction was done"
    );
}

#[tokio::test]
async fn a_canceled_job_whose_worker_died_leaves_no_prediction_running() {
    let mut stack = start(&options("canceled-without-worker")).await;
    let api = Api::of(&stack);
    let id = api.accepted(&endless()).await;
    api.until_stage(&id, Stage::Generating).await;
    bought_one(stack.provider.as_ref(), &id).await;
    stack.worker.kill();
    assert_eq!(api.act(&id, "cancel").await.status(), StatusCode::ACCEPTED);
    start_worker(&mut stack);
    let job = api.ended(&id).await;
    assert_eq!(job.status, JobStatus::Canceled, "{job:#?}");
    let prediction = bought_one(stack.provider.as_ref(), &id).await;
    assert_eq!(
        (prediction.status(Timestamp::now()), prediction.cancel_calls),
        (PredictionStatus::Canceled, 1)
    );
}

#[tokio::test]
async fn a_deadline_ends_the_job_and_the_prediction() {
    let api = Api::of(shared());
    let mut request = endless();
    request["deadline_seconds"] = 2.into();
    let generating = api.run(&request).await;
    assert_eq!(
        (generating.status, failure_type(generating.error.as_ref())),
        (JobStatus::Failed, Some(FailureType::DeadlineExceeded))
    );
    let prediction = bought_one(shared().provider.as_ref(), &generating.job_id).await;
    assert_eq!(
        (prediction.status(Timestamp::now()), prediction.cancel_calls),
        (PredictionStatus::Canceled, 1)
    );

    let mut request = job(2, json!({"fail_fetches": 1000}));
    request["deadline_seconds"] = 2.into();
    let persisting = api.run(&request).await;
    assert_eq!(
        (persisting.status, failure_type(persisting.error.as_ref())),
        (JobStatus::Failed, Some(FailureType::DeadlineExceeded))
    );
}

#[tokio::test]
async fn a_prediction_has_a_deadline_at_the_provider() {
    let api = Api::of(shared());
    let mut request = endless();
    request["deadline_seconds"] = 30.into();
    let with_deadline = api.accepted(&request).await;
    let without = api.accepted(&endless()).await;
    let cancel_after = async |id: &JobId| {
        let prediction = bought_one(shared().provider.as_ref(), id).await;
        prediction.cancel_after.unwrap().as_secs()
    };
    assert!((80..=90).contains(&cancel_after(&with_deadline).await));
    assert_eq!(cancel_after(&without).await, 24 * 60 * 60);
    for id in [with_deadline, without] {
        api.act(&id, "cancel").await;
        api.ended(&id).await;
    }
}
