//! Histories of released versions still replay: workflow code must produce the recorded commands
//! for ever.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use darkroom_client::types::{
    failure::FailureType, job_id::JobId, resource::DeliveryStatus, status::Stage,
};
use darkroom_dev::Stack;
use darkroom_worker::history;
use darkroom_workflows::{JobDeletion, StorageSweep, WORKFLOW_QUEUE, contract::sweep::SweepInput};
use serde_json::{Value, json};
use temporalio_client::{WorkflowGetResultOptions, WorkflowStartOptions};

use crate::support::{
    api::Api,
    harness::{
        BINARY, endless, failure_type, fresh_directory, job, options_with, shared, start, until,
    },
    receiver::Receiver,
    workflows::until_submitted,
};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

#[tokio::test]
async fn every_recorded_history_replays() {
    let mut replayed = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let result = history::replay(&std::fs::read(&path).unwrap()).await;
        assert!(result.is_ok(), "{}: {result:?}", path.display());
        replayed += 1;
    }
    assert!(
        replayed >= 20,
        "histories are missing: only {replayed} are there"
    );
}

#[tokio::test]
async fn a_history_of_another_workflow_does_not_replay() {
    let path = directory().join("0.1.0-completed.json");
    let history = std::fs::read_to_string(path).unwrap();
    assert!(
        history::replay(history.replace("\"persist\"", "\"preserve\"").as_bytes())
            .await
            .is_err()
    );
    for nothing in ["", "{}", r#"{"events": []}"#] {
        assert!(
            history::replay(nothing.as_bytes()).await.is_err(),
            "{nothing}"
        );
    }
}

#[tokio::test]
async fn a_history_is_recorded_and_replayed_from_the_command_line() {
    let job = Api::of(shared()).run(&job(2, json!({}))).await;
    let darkroom = || {
        let mut command = Command::new(BINARY);
        command
            .arg("history")
            .env("TEMPORAL_ADDRESS", &shared().temporal.address);
        command
    };
    let fetched = darkroom()
        .args(["fetch", &job.job_id.to_string()])
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
    let file = fresh_directory("history").with_extension("json");
    std::fs::write(&file, fetched.stdout).unwrap();
    let replayed = darkroom().arg("replay").arg(&file).output().unwrap();
    assert!(replayed.status.success(), "{replayed:?}");

    let unknown = darkroom().args(["fetch", "nobody"]).output().unwrap();
    assert!(!unknown.status.success());
    assert!(
        String::from_utf8(unknown.stderr)
            .unwrap()
            .starts_with("error: cannot read the history of nobody")
    );
}

/// Records a history of each kind from real runs, named after the current version. Run it before a
/// release: `cargo test --test it -- --ignored record_histories`.
#[tokio::test]
#[ignore = "writes tests/histories"]
async fn record_histories() {
    let api = Api::of(shared());
    let mut deadline = job(2, json!({"latency_ms": 600_000}));
    deadline["deadline_seconds"] = 1.into();
    for (name, request) in [
        ("completed", job(3, json!({"webhooks": 0}))),
        ("partial", job(3, json!({"missing": [1], "webhooks": 0}))),
        (
            "generation-failed",
            job(3, json!({"fail": "the model gave up", "webhooks": 0})),
        ),
        ("deadline", deadline),
        ("refused", job(1, json!({"refuse": 422}))),
        (
            "adopted",
            job(1, json!({"drop_answer": true, "webhooks": 0})),
        ),
    ] {
        let ended = api.run(&request).await;
        record(name, &ended.job_id.to_string()).await;
    }
    record("canceled", &canceled(&api).await.to_string()).await;
    record("retried", &retried(&api).await.to_string()).await;
    record("reported", &reported(&api).await.to_string()).await;
    expiring(&api).await;
    swept().await;
    in_doubt().await;
    polled().await;
    with_webhooks().await;
}

/// Records a job that waits to expire, and its deletion before that.
async fn expiring(api: &Api) {
    let mut request = job(1, json!({"webhooks": 0}));
    request["expire_after_seconds"] = 3600.into();
    let id = api.run(&request).await.job_id;
    record("expiring", &id.to_string()).await;
    api.client.delete_job(&id).await.unwrap();
    let client = shared().temporal.client().await.unwrap();
    let deletion = format!("delete-{id}");
    let handle = client.get_workflow_handle::<JobDeletion>(&deletion);
    let outcome = handle.get_result(WorkflowGetResultOptions::default()).await;
    outcome.unwrap();
    record("deleted", &deletion).await;
}

/// Records a storage sweep, started directly instead of by its schedule.
async fn swept() {
    let client = shared().temporal.client().await.unwrap();
    let options = WorkflowStartOptions::new(WORKFLOW_QUEUE, "record-swept").build();
    let input = SweepInput::default();
    let handle = client
        .start_workflow(StorageSweep::run, input, options)
        .await
        .unwrap();
    handle
        .get_result(WorkflowGetResultOptions::default())
        .await
        .unwrap();
    record("swept", "record-swept").await;
}

/// Records jobs with webhooks and their deliveries: delivered at the second attempt, delivered by a
/// redelivery on request, and refused.
async fn with_webhooks() {
    let receiver = Receiver::start().await;
    let allow = receiver.address.to_string();
    let stack = start(&options_with(
        "record-notified",
        &[("WEBHOOK_ALLOW", &allow)],
    ))
    .await;
    let api = Api::of(&stack);
    let request = |mut job: Value| {
        job["webhook_url"] = receiver.url().into();
        job
    };
    let delivery_ended = async |id: &JobId| {
        until("the end of a delivery", async || {
            let listed = api.client.list_webhooks(id).await.unwrap();
            let status = listed.deliveries.first()?.status;
            (status != DeliveryStatus::Pending).then_some(())
        })
        .await;
    };
    receiver.answer(&[503]);
    let completed = api.run(&request(job(2, json!({"webhooks": 0})))).await;
    let completed = completed.job_id;
    delivery_ended(&completed).await;
    write("notified", &stack, &completed.to_string()).await;
    write(
        "webhook-delivered",
        &stack,
        &format!("webhook-{completed}-0"),
    )
    .await;

    receiver.answer(&[500, 500, 500]);
    let failed = api
        .run(&request(job(1, json!({"fail": "no", "webhooks": 0}))))
        .await;
    let failed = failed.job_id;
    for attempts in [5, 6] {
        receiver.until_received(attempts - 1).await;
        assert_eq!(api.act(&failed, "webhooks").await.status(), 202);
    }
    delivery_ended(&failed).await;
    write("notified-of-failure", &stack, &failed.to_string()).await;
    write(
        "webhook-redelivered",
        &stack,
        &format!("webhook-{failed}-0"),
    )
    .await;

    receiver.answer(&[410]);
    let id = api
        .accepted(&request(job(2, json!({"latency_ms": 600_000}))))
        .await;
    api.until_stage(&id, Stage::Generating).await;
    api.act(&id, "cancel").await;
    api.ended(&id).await;
    delivery_ended(&id).await;
    write("notified-of-cancellation", &stack, &id.to_string()).await;
    write("webhook-refused", &stack, &format!("webhook-{id}-0")).await;
}

/// Runs a job that is canceled while it waits at the provider.
async fn canceled(api: &Api) -> JobId {
    let id = api.accepted(&endless()).await;
    until_submitted(shared(), &id).await;
    api.act(&id, "cancel").await;
    api.ended(&id).await;
    id
}

async fn retried(api: &Api) -> JobId {
    let partial = api
        .run(&job(3, json!({"missing": [1], "webhooks": 0})))
        .await;
    let id = partial.job_id;
    api.act(&id, "retry").await;
    api.ended(&id).await;
    id
}

/// Runs a job that resumes because a webhook of the provider reported the end.
async fn reported(api: &Api) -> JobId {
    let id = api.accepted(&job(2, json!({"latency_ms": 12_000}))).await;
    api.ended(&id).await;
    id
}

/// Records a job that resumes because it polled the prediction: there are no webhooks.
async fn polled() {
    let options = options_with("record-polled", &[("REPLICATE_WEBHOOK_SECRET", "")]);
    let stack = start(&options).await;
    let ended = Api::of(&stack)
        .run(&job(2, json!({"latency_ms": 12_000})))
        .await;
    write("polled", &stack, &ended.job_id.to_string()).await;
}

/// Records a job that ends in doubt: a gateway timed out, and the provider never shows the
/// prediction.
async fn in_doubt() {
    let options = options_with("record-in-doubt", &[("SUBMISSION_SEARCH_SECONDS", "6")]);
    let stack = start(&options).await;
    let ended = Api::of(&stack)
        .run(&job(1, json!({"answer_status": 504, "answer_html": true})))
        .await;
    assert_eq!(
        failure_type(ended.error.as_ref()),
        Some(FailureType::SubmissionUnknown)
    );
    write("in-doubt", &stack, &ended.job_id.to_string()).await;
}

async fn record(name: &str, job_id: &str) {
    write(name, shared(), job_id).await;
}

async fn write(name: &str, stack: &Stack, job_id: &str) {
    let client = stack.temporal.client().await.unwrap();
    let history = history::fetch_from(&client, job_id).await.unwrap();
    let path = directory().join(format!("{}-{name}.json", env!("CARGO_PKG_VERSION")));
    std::fs::write(path, history).unwrap();
}
