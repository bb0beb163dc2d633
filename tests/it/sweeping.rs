//! The storage sweep removes objects that no manifest names, and nothing else. `DARKROOM_SWEPT`
//! sets how many jobs a long sweep covers.

use std::{slice, time::Instant};

use darkroom_client::types::{
    job_id::JobId,
    status::{JobStatus, MediaStatus},
};
use futures::{StreamExt, stream};
use reqwest::StatusCode;
use serde_json::json;
use temporalio_client::{
    NamespacedClient, WorkflowDescribeOptions, grpc::WorkflowService, tonic::IntoRequest,
};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowExecution, workflowservice::v1::DeleteWorkflowExecutionRequest,
};

use crate::support::{
    api::{Problem, job_in},
    context::{ProxiedContext, TestContext},
    harness::{change_script, job, options, report, setting, until},
    workflows::{terminate_workflow, workflow_handle},
};

/// Puts a stray object, as a late attempt may leave it.
async fn put_stray(context: &TestContext, key: &str) {
    let bytes = b"of an attempt that came late".to_vec();
    context.put_object(key, bytes).await;
}

#[tokio::test]
async fn the_sweep_removes_what_no_manifest_names() {
    let options = options("sweeping");
    let (context, _gateway) = TestContext::on_gateway(options, &[]).await;
    let api = &context.api;
    let completed = api.run(&context.job_of(&["bytes=1000"; 2])).await.job_id;
    let partial = context.job_of(&["bytes=1000", "status=410"]);
    let partial = api.run(&partial).await.job_id;
    for id in [&completed, &partial] {
        put_stray(&context, &format!("jobs/{id}/1.webp")).await;
    }
    // Objects of no job, and objects of a job under way, are left alone.
    put_stray(&context, "others/file").await;
    let slow = context
        .accept(&context.source.url("slow", "bytes=60000000&rate=2000000"))
        .await;
    put_stray(&context, &format!("jobs/{slow}/1.webp")).await;

    // A job that is terminated with one output in the store and another one being uploaded.
    let urls = [
        context.source.url("there", "bytes=1000"),
        context.source.url("slow", "bytes=60000000&rate=2000000"),
    ];
    let request = job(2, json!({"urls": urls, "webhooks": 0}));
    let create = || api.post_with_key("terminated", &request);
    let accepted = job_in(create().await.unwrap()).await;
    let terminated = &accepted.job_id;
    until("an output that is stored", async || {
        let status = api.get(terminated).await.media.first()?.status;
        (status == MediaStatus::Completed).then_some(())
    })
    .await;
    terminate_workflow(&context.stack, terminated).await;
    until("a job that is listed as terminated", async || {
        let jobs = api.list().await;
        let job = jobs.iter().find(|job| job.job_id == *terminated)?;
        (job.status == JobStatus::Failed).then_some(())
    })
    .await;
    until("its attempts to be over", async || {
        (context.uploads_of(slice::from_ref(terminated)).await == 0).then_some(())
    })
    .await;

    let mut expected = vec![
        format!("jobs/{completed}/0.png"),
        format!("jobs/{completed}/1.png"),
        format!("jobs/{completed}/job.json"),
        format!("jobs/{partial}/0.png"),
        format!("jobs/{partial}/job.json"),
        // A terminated job can still be read and retried, so its output stays.
        format!("jobs/{terminated}/0.png"),
    ];
    expected.sort();
    let objects = async || {
        let mut objects = context.objects().await;
        objects.retain(|key| !key.contains(&slow.to_string()));
        objects.sort();
        objects
    };
    let swept = context.sweep().await;
    assert_eq!((swept.jobs, swept.removed), (3, 2), "{swept:?}");
    assert_eq!(objects().await, expected);
    assert_eq!(context.keys("others/").await.len(), 1);
    assert_eq!(context.keys(&format!("jobs/{slow}/")).await.len(), 1);
    // Its idempotency key stays in use.
    assert_eq!(
        Problem::of(create().await.unwrap()).await,
        Problem::new(StatusCode::GONE, "deleted")
    );

    // Once Temporal has deleted its history, the job is gone and its output is swept.
    delete_workflow(&context, terminated).await;
    let again = context.sweep().await;
    assert_eq!(again.removed, 1, "{again:?}");
    expected.retain(|key| !key.contains(&terminated.to_string()));
    assert_eq!(objects().await, expected);
    let refused = Problem::of(create().await.unwrap()).await;
    assert_eq!(refused.status, StatusCode::GONE);
    assert_eq!(api.ended(&slow).await.status, JobStatus::Completed);
}

/// The manifest in the store is that of the run before, and names nothing that the retry stored.
#[tokio::test]
async fn the_sweep_keeps_what_a_terminated_retry_stored() {
    let (context, _gateway) = TestContext::on_gateway(options("sweeping-retried"), &[]).await;
    let api = &context.api;
    let partial = context.job_of(&["bytes=1000", "status=410", "status=410"]);
    let partial = api.run(&partial).await;
    assert_eq!(partial.status, JobStatus::Partial, "{partial:#?}");
    let id = &partial.job_id;
    let later = ["bytes=1000", "bytes=1000", "bytes=1000&hold=500"];
    let urls = later.map(|query| context.source.url("later", query));
    let provider = context.stack.provider.as_ref();
    change_script(provider, id, &json!({"urls": urls}));
    api.act(id, "retry").await;
    until("an output that the retry has stored", async || {
        let status = api.get(id).await.media[1].status;
        (status == MediaStatus::Completed).then_some(())
    })
    .await;
    terminate_workflow(&context.stack, id).await;
    assert_eq!(api.ended(id).await.media[1].status, MediaStatus::Completed);

    let output = format!("jobs/{id}/1.png");
    context.sweep().await;
    assert!(context.objects().await.contains(&output));
    // Temporal forgets the retry, and then only the manifest is left.
    delete_workflow(&context, id).await;
    context.sweep().await;
    assert!(!context.objects().await.contains(&output));
}

/// Deletes a job's workflow from Temporal, as Temporal does by itself after the retention.
async fn delete_workflow(context: &TestContext, id: &JobId) {
    let mut client = context.stack.temporal.client().await.unwrap();
    let request = DeleteWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(WorkflowExecution {
            workflow_id: id.to_string(),
            run_id: String::new(),
        }),
    };
    let deleted = WorkflowService::delete_workflow_execution(&mut client, request.into_request());
    deleted.await.unwrap();
    let handle = workflow_handle(&context.stack, id).await;
    until("a workflow that is deleted", async || {
        let described = handle.describe(WorkflowDescribeOptions::default()).await;
        described.is_err().then_some(())
    })
    .await;
}

/// Resident memory of a process, in KiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_sweep_resumes_where_the_last_one_stopped() {
    let jobs: u32 = setting("DARKROOM_SWEPT", 60);
    let part = jobs * 2 / 3;
    let options = options("sweeping-on");
    let ProxiedContext {
        gateway: _gateway,
        proxy,
        context,
    } = TestContext::behind_proxy(options, &[], None).await;
    let job = context.api.run(&context.job_of(&["bytes=1000"])).await;
    let id = &job.job_id.to_string();
    let key = format!("jobs/{id}/job.json");
    let manifest = context.store.get_object().bucket(&context.bucket).key(&key);
    let manifest = manifest.send().await.unwrap().body.collect().await.unwrap();
    let manifest = String::from_utf8(manifest.to_vec()).unwrap();
    let index = context.keys("index/").await.remove(0);
    // Further jobs that ended before and that Temporal has no history of.
    let others: Vec<_> = (1..jobs)
        .map(|_| uuid::Uuid::now_v7().to_string())
        .collect();
    let written = stream::iter(&others).map(async |other| {
        let manifest = manifest.replace(id, other).into_bytes();
        let output = b"an output".to_vec();
        context
            .put_object(&index.replace(id, other), Vec::new())
            .await;
        context
            .put_object(&format!("jobs/{other}/job.json"), manifest)
            .await;
        context
            .put_object(&format!("jobs/{other}/0.png"), output)
            .await;
    });
    written.buffer_unordered(16).collect::<Vec<()>>().await;
    for stray in [others.first().unwrap(), others.last().unwrap()] {
        put_stray(&context, &format!("jobs/{stray}/1.png")).await;
    }

    let (requests, memory) = (proxy.requests(), resident(context.stack.worker.id()));
    let began = Instant::now();
    let first = context.sweep_some(part).await;
    assert_eq!((first.jobs, first.removed), (part, 1), "{first:?}");
    let second = context.sweep_some(u32::MAX).await;
    let rest = (jobs - part, 1);
    assert_eq!((second.jobs, second.removed), rest, "{second:?}");
    report(&format!(
        "{jobs} jobs swept in {:?} with {} requests; the worker had {memory} KiB before and {} after",
        began.elapsed(),
        proxy.requests() - requests,
        resident(context.stack.worker.id())
    ));
    assert_eq!(context.keys("jobs/").await.len(), 2 * jobs as usize);
    // The next sweep begins again with the first job.
    assert_eq!(context.sweep_some(1).await.jobs, 1);
}
