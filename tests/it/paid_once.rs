//! What costs money is done once, can be stopped, and is not done again unasked.

use std::time::Duration;

use darkroom::dev::{
    Options, Stack,
    provider::{control::Outage, sign_webhook},
};
use darkroom_workflows::{MediaGeneration, job::PredictionStatus};
use futures::future::join_all;
use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use temporalio_client::{
    Client, NamespacedClient, WorkflowFetchHistoryOptions, WorkflowTerminateOptions,
    grpc::WorkflowService, tonic::IntoRequest,
};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution,
    enums::v1::EventType,
    history::v1::{HistoryEvent, history_event::Attributes},
    workflowservice::v1::{PauseActivityRequest, pause_activity_request},
};

use crate::harness::{
    Api, DEADLINE, bought, bought_one, count, endless, job, options, shared, signal, start,
    submission_of, until,
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
    history_of(shared(), job_id).await
}

/// What happened to a job.
pub(crate) async fn history_of(stack: &Stack, job_id: &str) -> Vec<HistoryEvent> {
    let client = stack.temporal.client().await.unwrap();
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

/// Whoever pays again may have paid already; whoever only looks again pays nothing.
#[tokio::test]
async fn a_job_in_doubt_that_is_retried_takes_what_has_shown_up() {
    const HIDDEN: Duration = Duration::from_secs(55);
    let options = Options {
        variables: vec![("SUBMISSION_SEARCH_SECONDS", "10".to_owned())],
        ..options("in-doubt")
    };
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    let dev = json!({"latency_ms": 100, "answer_delay_ms": 20_000, "hidden_for_ms": HIDDEN.as_millis(), "webhooks": 0});
    let ids = [
        api.accepted(&job(2, dev.clone())).await,
        api.accepted(&job(2, dev)).await,
    ];
    for id in &ids {
        bought_one(stack.provider.as_ref(), id).await;
    }
    stack.worker.kill();
    stack.worker = stack.spawn("worker").unwrap();
    for id in &ids {
        let job = api.ended(id).await;
        assert_eq!(job["error"]["type"], "SubmissionUnknown", "{job:#}");
        assert_eq!(job["provider"]["prediction_id"], Value::Null);
        assert_eq!(job["provider"]["cancel_outcome"], "unknown");
        assert!(job["in_doubt_since"].is_string());
    }
    until("predictions that show", async || {
        ids.iter()
            .all(|id| {
                let prediction = bought(stack.provider.as_ref(), id).pop().unwrap();
                Timestamp::now() > prediction.created_at + HIDDEN
            })
            .then_some(())
    })
    .await;

    for (id, body) in ids.iter().zip([json!({}), json!({"regenerate": true})]) {
        let retry = api
            .http
            .post(format!("{}/v1/jobs/{id}/retry", api.url))
            .json(&body);
        assert_eq!(retry.send().await.unwrap().status(), StatusCode::ACCEPTED);
        let job = api.ended(id).await;
        let prediction = bought_one(stack.provider.as_ref(), id).await;
        assert_eq!(
            (&job["status"], &job["provider"]["prediction_id"]),
            (&json!("completed"), &json!(prediction.id))
        );
        assert_eq!(job["in_doubt_since"], Value::Null);
        let bought = bought(stack.provider.as_ref(), id).len();
        assert_eq!(bought, 1, "nothing is bought again");
    }
}

/// Whoever terminates a job leaves what it may have bought to a retry, which looks for it.
#[tokio::test]
async fn a_terminated_job_remembers_what_it_may_have_bought() {
    let mut stack = start(&options("terminated")).await;
    let api = Api::of(&stack);
    let dev = json!({"latency_ms": 100, "answer_delay_ms": 20_000, "webhooks": 0});
    let id = api.accepted(&job(1, dev)).await;
    let prediction = bought_one(stack.provider.as_ref(), &id).await;
    stack.worker.kill();
    let client = stack.temporal.client().await.unwrap();
    client
        .get_workflow_handle::<MediaGeneration>(&id)
        .terminate(WorkflowTerminateOptions::default())
        .await
        .unwrap();
    let terminated = api.ended(&id).await;
    assert!(terminated["in_doubt_since"].is_string(), "{terminated:#}");
    stack.worker = stack.spawn("worker").unwrap();
    assert_eq!(api.act(&id, "retry").await.status(), StatusCode::ACCEPTED);
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["provider"]["prediction_id"]),
        (&json!("completed"), &json!(prediction.id)),
        "{job:#}"
    );
    assert_eq!(bought(stack.provider.as_ref(), &id).len(), 1);
}

/// Each status with the provider's own words and with a gateway's page, the work taken before the answer, later or never.
#[tokio::test]
async fn an_answer_that_is_no_answer_buys_once() {
    let api = Api::of(shared());
    let mut cases = Vec::new();
    for status in [500, 502, 503, 504, 520, 524] {
        for is_html in [false, true] {
            for taken_after in [0, 3_000, 8_000] {
                cases.push((status, is_html, taken_after));
            }
        }
    }
    cases.push((504, true, 20_000));
    let run = async |(status, is_html, taken_after): &(u16, bool, u64)| {
        let dev = json!({
            "answer_status": status, "answer_html": is_html, "taken_after_ms": taken_after,
            "latency_ms": 100, "webhooks": 0,
        });
        let id = api.accepted(&job(1, dev)).await;
        let job = api.ended_within(&id, 2 * DEADLINE).await;
        let bought = bought(shared().provider.as_ref(), &id).len();
        (job["status"].clone(), bought)
    };
    let ended = join_all(cases.iter().map(run)).await;
    for (case, ended) in cases.iter().zip(ended) {
        assert_eq!(ended, (json!("completed"), 1), "{case:?}");
    }
}

#[tokio::test]
async fn a_report_settles_a_doubt_at_once() {
    let api = Api::of(shared());
    let dev = json!({
        "answer_status": 504, "answer_html": true, "taken_after_ms": 1_000, "latency_ms": 100, "hidden": true,
    });
    let job = api.run(&job(1, dev)).await;
    assert_eq!(job["status"], "completed", "{job:#}");
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(bought(shared().provider.as_ref(), id).len(), 1);
}

/// A worker that was stopped while the provider answered, and goes on when another attempt could have begun.
#[tokio::test]
async fn an_attempt_that_was_declared_timed_out_tells_what_it_bought() {
    let stack = start(&options("superseded")).await;
    let api = Api::of(&stack);
    let other = stack.spawn("worker").unwrap();
    let dev = json!({"latency_ms": 100, "answer_delay_ms": 3_000, "hidden": true, "webhooks": 0});
    let id = api.accepted(&job(1, dev)).await;
    bought_one(stack.provider.as_ref(), &id).await;
    for worker in [&stack.worker, &other] {
        signal(worker, "STOP");
    }
    // Temporal declares the attempt timed out, and nobody is there to hear of it.
    let client = stack.temporal.client().await.unwrap();
    let handle = client.get_workflow_handle::<MediaGeneration>(&id);
    until("an attempt that is declared timed out", async || {
        let description = handle
            .describe(temporalio_client::WorkflowDescribeOptions::default())
            .await
            .unwrap();
        description
            .raw()
            .pending_activities
            .is_empty()
            .then_some(())
    })
    .await;
    for worker in [&stack.worker, &other] {
        signal(worker, "CONT");
    }
    let job = api.ended(&id).await;
    let prediction = bought_one(stack.provider.as_ref(), &id).await;
    assert_eq!(
        (&job["status"], &job["provider"]["prediction_id"]),
        (&json!("completed"), &json!(prediction.id)),
        "{job:#}"
    );
    assert_eq!(bought(stack.provider.as_ref(), &id).len(), 1);
}

/// What the provider says now and then costs what is unreadable, not the job.
#[tokio::test]
async fn odd_answers_cost_nothing() {
    let api = Api::of(shared());
    let cases = [
        json!({"not_found_for_ms": 4_000, "latency_ms": 500, "webhooks": 0}),
        json!({"not_found_for_ms": 12_000, "latency_ms": 500, "webhooks": 0}),
        json!({"booting_for_ms": 4_000, "latency_ms": 500, "webhooks": 0}),
        json!({"sloppy": true, "latency_ms": 500}),
        json!({"sloppy": true, "fail": "half a pair"}),
        json!({"outputs_after_ms": 2_500, "latency_ms": 200, "webhooks": 0}),
        json!({"outputs_after_ms": 11_000, "latency_ms": 200, "webhooks": 0}),
    ];
    let run = async |dev: &Value| api.run(&job(2, dev.clone())).await;
    for (dev, job) in cases.iter().zip(join_all(cases.iter().map(run)).await) {
        let expected = if dev["fail"].is_null() {
            "completed"
        } else {
            "failed"
        };
        assert_eq!(job["status"], expected, "{dev} {job:#}");
        assert!(job["provider"]["created_at"].is_string(), "{job:#}");
        let id = job["job_id"].as_str().unwrap();
        assert_eq!(bought(shared().provider.as_ref(), id).len(), 1, "{dev}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_ends_the_job_at_once_with_its_id() {
    let api = Api::of(shared());
    let dev = json!({"log_bytes": 70 * 1024 * 1024, "latency_ms": 500, "webhooks": 0});
    let job = api.run(&job(1, dev)).await;
    assert_eq!(job["status"], "failed", "{job:#}");
    let id = job["job_id"].as_str().unwrap();
    let prediction = bought_one(shared().provider.as_ref(), id).await;
    assert_eq!(job["error"]["type"], "ProviderUnreadable", "{job:#}");
    assert_eq!(job["provider"]["prediction_id"], prediction.id);
}

#[tokio::test]
async fn a_prediction_stops_by_itself_when_nobody_can_stop_it() {
    let api = Api::of(shared());
    let mut request = endless();
    request["deadline_seconds"] = 30.into();
    let with_deadline = api.accepted(&request).await;
    let without = api.accepted(&endless()).await;
    let cancel_after = async |id: &str| {
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
async fn a_refusal_costs_nothing_and_says_why() {
    let api = Api::of(shared());
    let refused = api
        .run(&job(2, json!({"refuse": 422, "refuse_with_list": true})))
        .await;
    assert_eq!(
        (&refused["status"], &refused["error"]["type"]),
        (&json!("failed"), &json!("ProviderRejected"))
    );
    let detail = refused["error"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("body.input.seed: must be whole"),
        "{detail}"
    );

    // A bill is an operator's trouble: the job waits for it, within its own time.
    let stack = start(&options("unpaid")).await;
    let api = Api::of(&stack);
    let mut request = job(2, json!({"refuse": 402}));
    request["deadline_seconds"] = 4.into();
    let unpaid = api.run(&request).await;
    assert_eq!(
        (&unpaid["status"], &unpaid["error"]["type"]),
        (&json!("failed"), &json!("DeadlineExceeded"))
    );
    let detail = unpaid["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("ProviderInsufficientCredit"), "{detail}");
    assert_eq!(stack.provider.as_ref().unwrap().predictions().len(), 0);
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
    // What the provider failed to answer is looked for for a minute before it is sent again.
    let patience = 2 * Duration::from_secs(seconds.into()) + 3 * DEADLINE;
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
        let submission = submission_of(&prediction);
        let url = format!("{}/v1/webhooks/replicate/{id}/{submission}", api.url);
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

/// The attempt that buys is not told to stop between the purchase and its end.
#[tokio::test]
async fn a_purchase_that_is_paused_is_made_once() {
    let api = Api::of(shared());
    let id = api.accepted(&job(1, json!({"latency_ms": 5000}))).await;
    bought_one(shared().provider.as_ref(), &id).await;
    let mut client: Client = shared().temporal.client().await.unwrap();
    let pause = PauseActivityRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: id.clone(),
            run_id: String::new(),
        }),
        activity: Some(pause_activity_request::Activity::Type(
            "generate".to_owned(),
        )),
        ..Default::default()
    };
    WorkflowService::pause_activity(&mut client, pause.into_request())
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
