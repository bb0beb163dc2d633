//! Jobs that are deleted, and jobs that expire: nothing but a tombstone is left in the store or in
//! Temporal, and nothing is bought again for them. `DARKROOM_STORE_AWAY` sets for how many seconds
//! the store is down in the middle of a deletion.

use std::{process::Output, time::Duration};

use darkroom_client::types::{
    job_id::JobId,
    provider::PredictionStatus,
    resource::{Deletion, Job, JobSummary},
    status::JobStatus,
};
use darkroom_dev::Stack;
use darkroom_workflows::{JobDeletion, job_deletion::expiry_id};
use jiff::Timestamp;
use reqwest::StatusCode;
use temporalio_client::{
    NamespacedClient, WorkflowTerminateOptions, grpc::WorkflowService, tonic::IntoRequest,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::ListWorkflowExecutionsRequest;

use crate::support::{
    api::{Api, Problem},
    context::{ProxiedContext, TestContext},
    harness::{BINARY, api_key_entry, bought_one, endless, options, setting, until, until_within},
    processes::{start_gateway, start_worker},
    proxy::{Fault, Operation},
    receiver::Receiver,
    workflows::until_submitted,
};

/// Ids of all workflows of a job, without a deletion workflow that has ended.
async fn workflows(stack: &Stack, id: &JobId) -> Vec<String> {
    let mut client = stack.temporal.client().await.unwrap();
    let request = ListWorkflowExecutionsRequest {
        namespace: client.namespace(),
        page_size: 1000,
        query: "WorkflowType != 'JobDeletion' OR ExecutionStatus = 'Running'".to_owned(),
        ..ListWorkflowExecutionsRequest::default()
    };
    let listed = WorkflowService::list_workflow_executions(&mut client, request.into_request());
    let executions = listed.await.unwrap().into_inner().executions.into_iter();
    let ids = executions
        .filter_map(|run| run.execution)
        .map(|execution| execution.workflow_id);
    ids.filter(|workflow| workflow.contains(&id.to_string()))
        .collect()
}

/// Waits until a job is gone: reads return 404, and only its tombstone is left.
async fn until_deleted(context: &TestContext, id: &JobId) {
    let path = format!("/v1/jobs/{id}");
    until_within(
        &format!("the end of all of {id}"),
        Duration::from_mins(2),
        async || {
            if context.api.get_path(&path).await.status() != StatusCode::NOT_FOUND {
                return None;
            }
            let mut keys = context.keys("").await;
            keys.retain(|key| key.contains(&id.to_string()));
            if keys != [format!("tombstones/{id}")] {
                return None;
            }
            // Last, as the deletion needs the server's few visibility queries for itself.
            workflows(&context.stack, id).await.is_empty().then_some(())
        },
    )
    .await;
    assert_eq!(context.api.delete(id).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_deleted_job_is_gone() {
    let receiver = Receiver::start().await;
    let allow = receiver.address.to_string();
    let options = options("deleting");
    let (context, _gateway) = TestContext::on_gateway(options, &[("WEBHOOK_ALLOW", &allow)]).await;
    let api = &context.api;

    // A job that has ended and has sent its webhook; deleted twice.
    let mut request = context.job_of(&["bytes=1000"; 3]);
    request["webhook_url"] = receiver.url().into();
    let accepted: Job = api
        .post_with_key("deleted", &request)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let ended = &accepted.job_id;
    assert_eq!(api.ended(ended).await.status, JobStatus::Completed);
    let answer = api.delete(ended).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Deletion = answer.json().await.unwrap();
    assert_eq!(answer.job_id, *ended);
    let again = api.delete(ended).await.status();
    assert_eq!(again, StatusCode::ACCEPTED);
    let read = api.get_path(&format!("/v1/jobs/{ended}")).await;
    assert_eq!(read.status(), StatusCode::NOT_FOUND);

    // A job that was retried.
    let retried = api
        .run(&context.job_of(&["bytes=1000", "status=410"]))
        .await;
    assert_eq!(retried.status, JobStatus::Partial, "{retried:#?}");
    let retried = &retried.job_id;
    assert_eq!(
        api.act(retried, "retry").await.status(),
        StatusCode::ACCEPTED
    );
    api.ended(retried).await;
    assert_eq!(api.delete(retried).await.status(), StatusCode::ACCEPTED);

    // A job under way at the provider, and a job whose output is being uploaded.
    let generating = api.accepted(&endless()).await;
    until_submitted(&context.stack, &generating).await;
    let prediction = bought_one(context.stack.provider.as_ref(), &generating).await;
    assert_eq!(api.delete(&generating).await.status(), StatusCode::ACCEPTED);
    let persisting = context
        .accept(&context.source.url("slow", "bytes=60000000&rate=5000000"))
        .await;
    until("an output under way", async || {
        let done = api.get(&persisting).await.media.first()?.bytes_done;
        done.filter(|done| *done > 0)
    })
    .await;
    assert_eq!(api.delete(&persisting).await.status(), StatusCode::ACCEPTED);

    for id in [ended, retried, &generating, &persisting] {
        until_deleted(&context, id).await;
    }
    let provider = context.stack.provider.as_ref().unwrap();
    let predictions = provider.predictions();
    let canceled = predictions
        .iter()
        .find(|other| other.id == prediction.id)
        .unwrap();
    assert_eq!(
        canceled.status(Timestamp::now()),
        PredictionStatus::Canceled
    );
    assert_eq!(context.uploads().await, 0);

    // The idempotency key of a deleted job creates no other job, and nothing is bought.
    let refused = api.post_with_key("deleted", &request).await.unwrap();
    let gone = Problem::new(StatusCode::GONE, "deleted");
    assert_eq!(Problem::of(refused).await, gone);
    assert_eq!(provider.predictions().len(), predictions.len());
    assert_eq!(api.list().await, Vec::<JobSummary>::new());
}

#[tokio::test]
async fn a_deletion_outlasts_its_worker_and_a_store_that_is_away() {
    let options = options("deleting-kills");
    let ProxiedContext {
        mut context,
        proxy,
        gateway,
    } = TestContext::behind_proxy(options.clone(), &[], None).await;
    let ended = context.api.run(&context.job_of(&["bytes=1000"; 20])).await;
    assert_eq!(ended.status, JobStatus::Completed, "{ended:#?}");
    let id = &ended.job_id;
    // The store deletes some of the objects and refuses to delete the others.
    let within = format!("jobs/{id}/1");
    proxy.plan(
        &within,
        Operation::DeleteObject,
        Fault::Refuse(503, "SlowDown"),
        10_000,
    );
    assert_eq!(context.api.delete(id).await.status(), StatusCode::ACCEPTED);
    until("a job that is half gone", async || {
        let left = context.keys(&format!("jobs/{id}/")).await.len();
        (left > 0 && left <= 12).then_some(())
    })
    .await;
    context.stack.worker.kill();
    gateway.stop();
    start_worker(&mut context.stack);
    proxy.remove_faults(&within);
    let outage = setting("DARKROOM_STORE_AWAY", 5);
    tokio::time::sleep(Duration::from_secs(outage)).await;
    let _gateway = start_gateway(&options).await;
    until_deleted(&context, id).await;
}

#[tokio::test]
async fn a_job_expires() {
    let variables = [("DARKROOM_EXPIRE_AFTER_SECONDS", "3600")];
    let context = TestContext::start(options("expiring"), &variables, None).await;
    let api = &context.api;
    let kept = api.run(&context.job_of(&["bytes=1000"])).await;
    assert_eq!(kept.expire_after_seconds.unwrap().get(), 3600);
    let (expires_at, completed_at) = (kept.expires_at.unwrap(), kept.completed_at.unwrap());
    assert_eq!(expires_at.duration_since(completed_at).as_secs(), 3600);
    // The workflow that waits for the expiry is deleted with its job.
    let kept = &kept.job_id;
    assert_eq!(workflows(&context.stack, kept).await.len(), 2);
    assert_eq!(api.delete(kept).await.status(), StatusCode::ACCEPTED);

    let mut request = context.job_of(&["bytes=1000"]);
    request["expire_after_seconds"] = 2.into();
    let expiring = api.run(&request).await.job_id;

    // A job that is retried before it expires stays until the retry has ended.
    let mut request = context.job_of(&["bytes=1000", "status=410"]);
    request["expire_after_seconds"] = 5.into();
    let partial = api.run(&request).await;
    let id = &partial.job_id;
    assert_eq!(api.act(id, "retry").await.status(), StatusCode::ACCEPTED);
    let retried = api.ended(id).await;
    assert!(retried.expires_at > partial.expires_at, "{retried:#?}");

    for id in [kept, &expiring, id] {
        until_deleted(&context, id).await;
    }
}

/// A backup of Temporal does not know the expiries that began after it.
#[tokio::test]
async fn a_job_whose_expiry_is_lost_is_deleted_by_the_sweep() {
    let (context, _gateway) = TestContext::on_gateway(options("expiry-lost"), &[]).await;
    let mut request = context.job_of(&["bytes=1000"]);
    request["expire_after_seconds"] = 20.into();
    let id = &context.api.run(&request).await.job_id;
    let client = context.stack.temporal.client().await.unwrap();
    let expiry = client.get_workflow_handle::<JobDeletion>(expiry_id(id));
    let terminated = expiry.terminate(WorkflowTerminateOptions::default()).await;
    terminated.unwrap();
    until_within("a deletion", Duration::from_mins(1), async || {
        context.sweep().await;
        let read = context.api.get_path(&format!("/v1/jobs/{id}")).await;
        (read.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    until_deleted(&context, id).await;
}

#[tokio::test]
async fn a_tenant_is_purged() {
    let keys = [api_key_entry("a", "key-a"), api_key_entry("b", "key-b")].join(",");
    let context =
        TestContext::start(options("purging"), &[("DARKROOM_API_KEYS", &keys)], None).await;
    let a = Api::with_key(context.stack.api_url(), "key-a");
    let b = Api::with_key(context.stack.api_url(), "key-b");
    for _ in 0..3 {
        a.run(&context.job_of(&["bytes=1000"])).await;
    }
    a.accepted(&endless()).await;
    let others = b.run(&context.job_of(&["bytes=1000"])).await.job_id;
    assert_eq!(a.delete(&others).await.status(), StatusCode::NOT_FOUND);

    let purge = async |arguments: &[&str]| -> Output {
        let mut command = tokio::process::Command::new(BINARY);
        command
            .arg("purge")
            .args(arguments)
            .envs(context.stack.environment());
        command.output().await.unwrap()
    };
    let refused = purge(&["--tenant", "a"]).await;
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--yes"));
    let purged = purge(&["--tenant", "a", "--yes"]).await;
    assert_eq!(
        String::from_utf8_lossy(&purged.stdout),
        "4 jobs of a deleted\n",
        "{purged:?}"
    );
    assert!(context.keys("index/a/").await.is_empty());
    let media = context.objects().await;
    assert!(
        !media.is_empty() && media.iter().all(|key| key.contains(&others.to_string())),
        "{media:?}"
    );
    assert_eq!(b.get(&others).await.status, JobStatus::Completed);
}
