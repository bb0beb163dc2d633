//! What costs money is done once, can be stopped, and is not done again unasked.

use std::time::Duration;

use darkroom::dev::provider::{control::Outage, sign_webhook};
use darkroom_workflows::{MediaGeneration, job::PredictionStatus};
use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use temporalio_client::{
    Client, NamespacedClient, WorkflowFetchHistoryOptions, grpc::WorkflowService,
    tonic::IntoRequest,
};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    enums::v1::{EventType, PendingActivityState},
    history::v1::{HistoryEvent, history_event::Attributes},
    workflowservice::v1::{
        PauseActivityRequest, UnpauseActivityRequest, pause_activity_request,
        unpause_activity_request,
    },
};

use crate::harness::{
    Api, DEADLINE, bought, bought_one, count, endless, job, options, shared, start, until,
};

async fn problem_of(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let problem: Value = response.json().await.unwrap();
    (
        status,
        problem["type"]
            .as_str()
            .unwrap_or_else(|| panic!("{status} {problem:#}"))
            .trim_start_matches("urn:darkroom:problem:")
            .to_owned(),
    )
}

/// What happened to a job of the shared stack.
pub(crate) async fn history(job_id: &str) -> Vec<HistoryEvent> {
    let client = shared().temporal.client().await.unwrap();
    let handle = client.get_workflow_handle::<MediaGeneration>(job_id);
    handle
        .fetch_history(WorkflowFetchHistoryOptions::default())
        .into_events()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_job_canceled_over_http_stops_its_prediction_once() {
    let api = Api::of(shared());
    let id = api.accepted(&endless()).await;
    bought_one(shared().provider.as_ref(), &id).await;
    assert_eq!(api.act(&id, "cancel").await.status(), StatusCode::ACCEPTED);
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["provider"]["cancel_outcome"]),
        (&json!("canceled"), &json!("canceled"))
    );
    let prediction = bought_one(shared().provider.as_ref(), &id).await;
    assert_eq!(
        (prediction.status(Timestamp::now()), prediction.cancel_calls),
        (PredictionStatus::Canceled, 1)
    );

    assert_eq!(
        problem_of(api.act(&id, "cancel").await).await,
        (StatusCode::CONFLICT, "already-ended".to_owned())
    );
    assert_eq!(
        problem_of(api.act(&id, "retry").await).await,
        (StatusCode::CONFLICT, "nothing-to-retry".to_owned())
    );
    let unknown = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1";
    for action in ["cancel", "retry"] {
        assert_eq!(
            problem_of(api.act(unknown, action).await).await,
            (StatusCode::NOT_FOUND, "not-found".to_owned())
        );
    }
}

#[tokio::test]
async fn a_job_canceled_while_it_persists_keeps_what_is_stored() {
    let api = Api::of(shared());
    let id = api
        .accepted(&job(3, json!({"missing": [], "fail_fetches": 1000})))
        .await;
    until("persisting", async || {
        (api.get(&id).await["stage"] == "persisting").then_some(())
    })
    .await;
    api.act(&id, "cancel").await;
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], count(&job, "canceled")),
        (&json!("canceled"), 3),
        "{job:#}"
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
    until("generating", async || {
        (api.get(&id).await["stage"] == "generating").then_some(())
    })
    .await;
    bought_one(stack.provider.as_ref(), &id).await;
    stack.worker.kill();
    assert_eq!(api.act(&id, "cancel").await.status(), StatusCode::ACCEPTED);
    stack.worker = stack.spawn("worker").unwrap();
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "canceled", "{job:#}");
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
        (&generating["status"], &generating["error"]["type"]),
        (&json!("failed"), &json!("DeadlineExceeded"))
    );
    let prediction = bought_one(
        shared().provider.as_ref(),
        generating["job_id"].as_str().unwrap(),
    )
    .await;
    assert_eq!(
        (prediction.status(Timestamp::now()), prediction.cancel_calls),
        (PredictionStatus::Canceled, 1)
    );

    let mut request = job(2, json!({"fail_fetches": 1000}));
    request["deadline_seconds"] = 2.into();
    let persisting = api.run(&request).await;
    assert_eq!(
        (&persisting["status"], &persisting["error"]["type"]),
        (&json!("failed"), &json!("DeadlineExceeded"))
    );
}

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

/// Whoever pays again may have paid already.
#[tokio::test]
async fn a_job_in_doubt_that_is_made_again_takes_what_has_shown_up() {
    const HIDDEN: Duration = Duration::from_secs(30);
    let mut stack = start(&options("in-doubt")).await;
    let api = Api::of(&stack);
    let dev = json!({"latency_ms": 100, "answer_delay_ms": 20_000, "hidden_for_ms": HIDDEN.as_millis(), "webhooks": 0});
    let id = api.accepted(&job(2, dev)).await;
    let prediction = bought_one(stack.provider.as_ref(), &id).await;
    stack.worker.kill();
    stack.worker = stack.spawn("worker").unwrap();
    assert_eq!(api.ended(&id).await["error"]["type"], "SubmissionUnknown");
    until("a prediction that shows", async || {
        (Timestamp::now() > prediction.created_at + HIDDEN).then_some(())
    })
    .await;

    let regenerate = api
        .http
        .post(format!("{}/v1/jobs/{id}/retry", api.url))
        .json(&json!({"regenerate": true}));
    assert_eq!(
        regenerate.send().await.unwrap().status(),
        StatusCode::ACCEPTED
    );
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["provider"]["prediction_id"]),
        (&json!("completed"), &json!(prediction.id))
    );
    assert_eq!(
        bought(stack.provider.as_ref(), &id).len(),
        1,
        "nothing is bought again"
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

#[tokio::test]
async fn a_submission_whose_answer_is_lost_is_adopted() {
    let api = Api::of(shared());
    for dev in [
        json!({"drop_answer": true}),
        json!({"drop_answer": true, "latency_ms": 1500, "webhooks": 0}),
    ] {
        let job = api.run(&job(2, dev)).await;
        assert_eq!(job["status"], "completed", "{job:#}");
        assert_eq!(
            bought(shared().provider.as_ref(), job["job_id"].as_str().unwrap()).len(),
            1
        );
    }
}

#[tokio::test]
async fn a_refusal_is_final_and_costs_nothing() {
    let api = Api::of(shared());
    for (status, kind) in [
        (402, "ProviderInsufficientCredit"),
        (422, "ProviderRejected"),
        (401, "ProviderUnauthorized"),
    ] {
        let job = api.run(&job(2, json!({"refuse": status}))).await;
        assert_eq!(
            (&job["status"], &job["error"]["type"]),
            (&json!("failed"), &json!(kind))
        );
        assert_eq!(
            bought(shared().provider.as_ref(), job["job_id"].as_str().unwrap()).len(),
            0
        );
    }
}

#[tokio::test]
async fn an_outage_of_the_provider_delays_jobs_and_fails_none() {
    let stack = start(&options("provider-away")).await;
    let api = Api::of(&stack);
    let provider = stack.provider.as_ref().unwrap();
    let before = api.accepted(&job(2, json!({"latency_ms": 2000}))).await;
    bought_one(stack.provider.as_ref(), &before).await;
    // Bounded by default; `DARKROOM_OUTAGE_SECONDS` makes it last.
    let seconds =
        std::env::var("DARKROOM_OUTAGE_SECONDS").map_or(4, |seconds| seconds.parse().unwrap());
    let patience = 2 * Duration::from_secs(seconds.into()) + DEADLINE;
    provider.fail(Outage::new(500, seconds, None));
    let during = api.accepted(&job(2, json!({}))).await;
    for id in [&before, &during] {
        let job = api.ended_within(id, patience).await;
        assert_eq!(
            (&job["status"], bought(stack.provider.as_ref(), id).len()),
            (&json!("completed"), 1)
        );
    }
    provider.fail(Outage::new(429, seconds, Some(5)));
    let limited = api.accepted(&job(2, json!({}))).await;
    let job = api.ended_within(&limited, patience).await;
    assert_eq!(
        (
            &job["status"],
            bought(stack.provider.as_ref(), &limited).len()
        ),
        (&json!("completed"), 1)
    );
}

#[tokio::test]
async fn reports_of_the_provider_have_one_effect_or_none() {
    let api = Api::of(shared());
    let dropped = api
        .run(&job(1, json!({"webhooks": 0, "latency_ms": 500})))
        .await;
    assert_eq!(dropped["status"], "completed", "polling alone will do");

    let id = api
        .accepted(&job(1, json!({"webhooks": 10, "latency_ms": 4000})))
        .await;
    assert_eq!(api.ended(&id).await["status"], "completed");
    let signals = history(&id)
        .await
        .iter()
        .filter(|event| event.event_type() == EventType::WorkflowExecutionSignaled)
        .count();
    assert!(signals <= 1, "{signals} signals of one report");
    assert_eq!(bought(shared().provider.as_ref(), &id).len(), 1);
}

#[tokio::test]
async fn a_forged_report_is_refused_and_a_genuine_one_is_heard() {
    let api = Api::of(shared());
    let id = api.accepted(&endless()).await;
    let prediction = bought_one(shared().provider.as_ref(), &id).await;
    let body =
        json!({"id": prediction.id, "status": "succeeded", "output": ["https://evil.example/x.png"]}).to_string();
    let now = Timestamp::now().as_second();
    let post = async |timestamp: i64, signature: String| {
        let url = format!("{}/v1/webhooks/replicate/{id}", api.url);
        let request = api
            .http
            .post(url)
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", timestamp.to_string());
        request
            .header("webhook-signature", signature)
            .body(body.clone())
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(
        post(now, "v1,AAAA".to_owned()).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(post(now, String::new()).await, StatusCode::UNAUTHORIZED);
    let old = now - 600;
    assert_eq!(
        post(old, sign_webhook("msg_1", &old.to_string(), &body)).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(api.get(&id).await["stage"], "generating");

    // The report only says when to look: the provider itself is asked what there is.
    assert_eq!(
        post(now, sign_webhook("msg_1", &now.to_string(), &body)).await,
        StatusCode::NO_CONTENT
    );
    until("collect", async || {
        let scheduled = |event: &HistoryEvent| match &event.attributes {
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => scheduled
                .activity_type
                .as_ref()
                .is_some_and(|kind| kind.name == "collect"),
            _ => false,
        };
        history(&id).await.iter().any(scheduled).then_some(())
    })
    .await;
    api.act(&id, "cancel").await;
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "canceled");
    assert!(job["media"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_paused_generation_is_not_a_canceled_one() {
    let api = Api::of(shared());
    let id = api.accepted(&job(1, json!({"latency_ms": 5000}))).await;
    bought_one(shared().provider.as_ref(), &id).await;
    let mut client: Client = shared().temporal.client().await.unwrap();
    let execution = Some(WorkflowExecution {
        workflow_id: id.clone(),
        run_id: String::new(),
    });
    let pause = PauseActivityRequest {
        namespace: client.namespace(),
        execution: execution.clone(),
        activity: Some(pause_activity_request::Activity::Type(
            "generate".to_owned(),
        )),
        ..Default::default()
    };
    WorkflowService::pause_activity(&mut client, pause.into_request())
        .await
        .unwrap();
    until("pause", async || {
        let handle = client.get_workflow_handle::<MediaGeneration>(&id);
        let description = handle
            .describe(temporalio_client::WorkflowDescribeOptions::default())
            .await
            .unwrap();
        let pending = &description.raw().pending_activities;
        pending
            .iter()
            .any(|activity| activity.state() == PendingActivityState::Paused)
            .then_some(())
    })
    .await;
    let unpause = UnpauseActivityRequest {
        namespace: client.namespace(),
        execution,
        activity: Some(unpause_activity_request::Activity::Type(
            "generate".to_owned(),
        )),
        ..Default::default()
    };
    WorkflowService::unpause_activity(&mut client, unpause.into_request())
        .await
        .unwrap();
    assert_eq!(api.ended(&id).await["status"], "completed");
    let prediction = bought_one(shared().provider.as_ref(), &id).await;
    assert_eq!(
        (
            bought(shared().provider.as_ref(), &id).len(),
            prediction.cancel_calls
        ),
        (1, 0)
    );
}

/// The SDK reports a failed attempt with the details that it knows, which are not the latest.
#[tokio::test]
async fn what_was_recorded_survives_an_attempt_that_fails() {
    let options = options("recorded");
    let stack = start(&options).await;
    let api = Api::of(&stack);
    let provider = stack.provider.as_ref().unwrap();
    provider.fail(Outage::new(429, 1, Some(1)));
    let id = api
        .accepted(&job(1, json!({"latency_ms": 3000, "webhooks": 0})))
        .await;
    until("a prediction", async || {
        (!provider.predictions().is_empty()).then_some(())
    })
    .await;
    provider.fail(Outage::new(502, 2, None));
    assert_eq!(api.ended(&id).await["status"], "completed");
    assert_eq!(provider.predictions().len(), 1, "it was paid for twice");
    let log = std::fs::read_to_string(options.directory.join("logs/worker.log")).unwrap();
    assert!(
        !log.contains("adopted a prediction"),
        "the record of it was lost"
    );
}
