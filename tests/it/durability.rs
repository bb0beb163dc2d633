//! What is killed, comes back and goes on.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Api, count, job, options, start, start_without_memory, terminate, until};

#[tokio::test]
async fn a_job_outlives_its_worker_and_is_paid_for_once() {
    let mut stack = start(&options("worker-killed")).await;
    let api = Api::of(&stack);
    let id = api.accepted(&job(4, json!({"latency_ms": 3000}))).await;
    until("generation", async || (stack.provider.as_ref().unwrap().predictions().len() == 1).then_some(())).await;
    stack.worker.kill();
    let while_away = api.get(&id).await;
    assert_eq!((&while_away["status"], &while_away["stage"]), (&json!("processing"), &json!("generating")));
    assert_eq!(while_away["stale"], true);

    stack.worker = stack.spawn("worker").unwrap();
    let job = api.ended(&id).await;
    assert_eq!((&job["status"], count(&job, "completed")), (&json!("completed"), 4), "{job:#}");
    assert_eq!(stack.provider.as_ref().unwrap().predictions().len(), 1);
}

#[tokio::test]
async fn a_job_that_was_accepted_without_a_worker_waits_for_one() {
    let mut stack = start(&options("no-worker")).await;
    let api = Api::of(&stack);
    stack.worker.kill();
    let id = api.accepted(&job(1, json!({}))).await;
    let waiting = api.get(&id).await;
    assert_eq!((&waiting["status"], &waiting["stage"]), (&json!("pending"), &json!("queued")));
    stack.worker = stack.spawn("worker").unwrap();
    assert_eq!(api.ended(&id).await["status"], "completed");

    stack.worker.kill();
    assert_eq!(api.get(&id).await["status"], "completed", "an ended job reads without a worker");
}

#[tokio::test]
async fn an_ended_job_outlives_temporals_memory() {
    let options = options("manifest");
    let stack = start(&options).await;
    let job = Api::of(&stack).run(&job(2, json!({"missing": [1]}))).await;
    let stack = start_without_memory(stack, &options).await;
    let mut remembered = Api::of(&stack).get(job["job_id"].as_str().unwrap()).await;
    for (media, before) in remembered["media"].as_array_mut().unwrap().iter_mut().zip(job["media"].as_array().unwrap())
    {
        media["presigned_media_url"] = before["presigned_media_url"].clone();
    }
    assert_eq!(remembered, job);
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_stops() {
    let mut stack = start(&options("worker-stopped")).await;
    let api = Api::of(&stack);
    let id = api.accepted(&job(2, json!({"latency_ms": 4000}))).await;
    until("generation", async || (stack.provider.as_ref().unwrap().predictions().len() == 1).then_some(())).await;
    terminate(&stack.worker);
    until("end of the worker", async || (!stack.worker.is_running()).then_some(())).await;
    stack.worker = stack.spawn("worker").unwrap();
    assert_eq!(api.ended(&id).await["status"], "completed");
    assert_eq!(stack.provider.as_ref().unwrap().predictions().len(), 1);
    tokio::time::timeout(Duration::from_secs(10), async { drop(stack) }).await.unwrap();
}
