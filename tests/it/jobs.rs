//! Jobs from request to result: stored outputs, partial and failed jobs, the manifest, and the
//! commands in the workflow history.

use std::collections::BTreeSet;

use darkroom_client::types::{
    failure::FailureType,
    job_id::JobId,
    provider::{CancelOutcome, ProviderName},
    resource::Job,
    status::{JobStatus, MediaStatus, Stage},
};
use darkroom_dev::s3;
use darkroom_workflows::{
    MediaGeneration, MediaGenerationInput, WORKFLOW_QUEUE, job::JobState, media_generation::Start,
};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};
use temporalio_client::{
    WorkflowCancelOptions, WorkflowDescribeOptions, WorkflowExecutionStatus,
    WorkflowGetResultOptions, WorkflowStartOptions,
};
use temporalio_common::protos::temporal::api::{
    enums::v1::EventType,
    history::v1::{HistoryEvent, history_event::Attributes},
};
use uuid::Uuid;

use crate::support::{
    api::Api,
    harness::{
        bought, cancel_outcome, change_script, count, directory_of, failure_type, job, sha256,
        shared,
    },
    workflows::{history, is_scheduled, terminate_workflow, workflow_handle},
};

#[tokio::test]
async fn outputs_are_stored_whole_and_can_be_fetched() {
    let api = Api::of(shared());
    let request = json!({"model": "acme/photo", "prompt": "a fox", "num_outputs": 4, "seed": 7, "output_format": "png"});
    let job = api.run(&request).await;
    assert_eq!(
        (job.status, count(&job, MediaStatus::Completed)),
        (JobStatus::Completed, 4),
        "{job:#?}"
    );
    assert_eq!((job.stage, job.error, job.stale), (None, None, false));
    assert_eq!(job.provider.unwrap().name, ProviderName::Replicate);

    let mut checksums = BTreeSet::new();
    for media in &job.media {
        let url = media.media_url.as_deref().unwrap();
        let redirect = api.http.get(url).send().await.unwrap();
        assert_eq!(redirect.status(), StatusCode::FOUND);
        for url in [
            redirect.headers()["location"].to_str().unwrap(),
            media.presigned_media_url.as_ref().unwrap().as_str(),
        ] {
            let response = api.http.get(url).send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "image/png");
            let bytes = response.bytes().await.unwrap();
            assert_eq!(media.size, Some(bytes.len() as u64));
            assert_eq!(media.sha256, Some(sha256(&bytes)));
        }
        checksums.insert(media.sha256.unwrap());
    }
    assert_eq!(checksums.len(), 4, "four different pictures");
}

#[tokio::test]
async fn every_format_is_detected_from_its_bytes() {
    let api = Api::of(shared());
    for (format, content_type) in [
        ("jpg", "image/jpeg"),
        ("png", "image/png"),
        ("webp", "image/webp"),
    ] {
        let job = api
            .run(&json!({"model": "acme/photo", "prompt": "a fox", "output_format": format}))
            .await;
        let media = &job.media[0];
        assert_eq!(media.content_type.as_deref(), Some(content_type));
        let key = media.s3_key.as_ref().unwrap().as_str();
        assert!(key.ends_with(&format!("/0.{format}")));
    }
}

#[tokio::test]
async fn one_missing_output_leaves_the_others_stored() {
    let api = Api::of(shared());
    let job = api.run(&job(4, json!({"missing": [2]}))).await;
    assert_eq!(job.status, JobStatus::Partial, "{job:#?}");
    assert_eq!(count(&job, MediaStatus::Completed), 3);
    assert_eq!(count(&job, MediaStatus::Failed), 1);
    let missing = failure_type(job.media[2].error.as_ref());
    assert_eq!(missing, Some(FailureType::SourceExpired));
    assert_eq!(
        failure_type(job.error.as_ref()),
        Some(FailureType::OutputsFailed)
    );
    let message = job.error_message.as_deref().unwrap();
    let beginning = "1 of 4 outputs could not be stored; output 3: ";
    assert!(message.starts_with(beginning));
    assert_eq!(
        temporal_status(&job).await,
        WorkflowExecutionStatus::Completed
    );

    let url = format!("{}/v1/jobs/{}/media/2", api.url, job.job_id);
    let missing = api.http.get(url).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn no_stored_output_fails_the_job() {
    let api = Api::of(shared());
    let job = api.run(&job(4, json!({"missing": [0, 1, 2, 3]}))).await;
    assert_eq!(
        (job.status, count(&job, MediaStatus::Failed)),
        (JobStatus::Failed, 4),
        "{job:#?}"
    );
    assert_eq!(
        failure_type(job.error.as_ref()),
        Some(FailureType::OutputsFailed)
    );
    assert_eq!(temporal_status(&job).await, WorkflowExecutionStatus::Failed);
}

#[tokio::test]
async fn a_generation_that_fails_or_yields_nothing_fails_the_job() {
    let api = Api::of(shared());
    let failed = api.run(&job(2, json!({"fail": "NSFW content"}))).await;
    assert_eq!(
        (failed.status, failure_type(failed.error.as_ref())),
        (JobStatus::Failed, Some(FailureType::GenerationFailed))
    );
    assert_eq!(failed.error.unwrap().detail, "NSFW content");
    let empty = api.run(&job(2, json!({"outputs": 0}))).await;
    assert_eq!(
        (empty.status, failure_type(empty.error.as_ref())),
        (JobStatus::Failed, Some(FailureType::NoOutputs))
    );
    let refused = api.run(&job(2, json!({"no such": "instruction"}))).await;
    assert_eq!(
        (refused.status, failure_type(refused.error.as_ref())),
        (JobStatus::Failed, Some(FailureType::ProviderRejected))
    );
}

#[tokio::test]
async fn jobs_with_one_output_and_with_a_hundred_complete() {
    let api = Api::of(shared());
    for outputs in [1, 100] {
        let job = api.run(&job(outputs, json!({}))).await;
        assert_eq!(job.status, JobStatus::Completed);
        assert_eq!(count(&job, MediaStatus::Completed), outputs as usize);
    }
}

#[tokio::test]
async fn an_output_of_many_parts_is_whole() {
    const SIZE: usize = 20 * 1024 * 1024 + 1;
    let api = Api::of(shared());
    let job = api.run(&job(1, json!({"bytes": SIZE}))).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    let url = job.media[0].presigned_media_url.clone().unwrap();
    let response = api.http.get(url).send().await.unwrap();
    let bytes = response.bytes().await.unwrap();
    assert_eq!(bytes.len(), SIZE);
    assert_eq!(job.media[0].sha256, Some(sha256(&bytes)));
}

#[tokio::test]
async fn outputs_within_the_prediction_are_stored_as_well() {
    let api = Api::of(shared());
    for bytes in [1024, 3_000_000] {
        let job = api
            .run(&job(2, json!({"inline": true, "bytes": bytes})))
            .await;
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
        let media = &job.media[1];
        assert_eq!(media.size, Some(bytes), "{job:#?}");
        assert_eq!(media.content_type.as_deref(), Some("image/png"));
    }
}

#[tokio::test]
async fn the_manifest_is_the_record_of_the_job() {
    let api = Api::of(shared());
    for dev in [json!({}), json!({"missing": [0]}), json!({"fail": "no"})] {
        let job = api.run(&job(2, dev)).await;
        let manifest = manifest(&job.job_id);
        assert_eq!(manifest["job_id"], job.job_id.to_string());
        assert_eq!(manifest["status"], job.status.to_string());
        assert_eq!(manifest["request"]["prompt"], "a fox in the snow");
        let media = manifest["media"].as_array().unwrap();
        assert_eq!(media.len(), job.media.len());
        assert_eq!(manifest["error"], json!(job.error));
    }
}

/// Manifest of a job, read from the directory in which the embedded S3 server keeps its files.
fn manifest(job_id: &JobId) -> Value {
    let path = directory_of("shared")
        .join("s3")
        .join(s3::BUCKET)
        .join("jobs")
        .join(job_id.to_string())
        .join("job.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_model_without_a_prompt_gets_a_large_input() {
    let api = Api::of(shared());
    let mut request = job(2, json!({"missing": [1]}));
    request.as_object_mut().unwrap().remove("prompt");
    request["input"]["mask"] = "x".repeat(250_000).into();
    let partial = api.run(&request).await;
    assert_eq!(partial.status, JobStatus::Partial);
    assert_eq!(partial.prompt, None);
    let id = &partial.job_id;
    change_script(shared().provider.as_ref(), id, &json!({"missing": []}));
    api.act(id, "retry").await;
    assert_eq!(api.ended(id).await.status, JobStatus::Completed);
}

#[tokio::test]
async fn all_outputs_are_scheduled_in_one_workflow_task() {
    let api = Api::of(shared());
    // Without webhooks: a report that comes before `generate` has ended would add a poll of its
    // own, and a marker with it.
    let job = api.run(&job(6, json!({"webhooks": 0}))).await;
    let history = history(&job.job_id).await;
    let scheduled = |activity: &str| -> Vec<&HistoryEvent> {
        let events = history.iter();
        events
            .filter(|event| is_scheduled(event, activity))
            .collect()
    };
    assert_eq!(scheduled("generate").len(), 1);
    let persists = scheduled("persist");
    assert_eq!(persists.len(), 6);
    let tasks: BTreeSet<i64> = persists
        .iter()
        .filter_map(|event| match &event.attributes {
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                Some(scheduled.workflow_task_completed_event_id)
            }
            _ => None,
        })
        .collect();
    assert_eq!(tasks.len(), 1, "one workflow task schedules them all");
    let summaries: Vec<String> = persists.iter().map(|event| summary(event)).collect();
    assert_eq!(summaries[0], "output 1 of 6");
    assert_eq!(
        summary(scheduled("generate")[0]),
        "6 outputs of a fox in the snow by acme/photo"
    );
    assert_eq!(
        history
            .iter()
            .filter(|event| event.event_type() == EventType::MarkerRecorded)
            .count(),
        1,
        "finalize"
    );
}

fn summary(event: &HistoryEvent) -> String {
    let payload = event
        .user_metadata
        .as_ref()
        .and_then(|metadata| metadata.summary.as_ref())
        .unwrap();
    serde_json::from_slice(&payload.data).unwrap()
}

#[tokio::test]
async fn a_canceled_job_cancels_its_prediction() {
    let api = Api::of(shared());
    let id = api.accepted(&job(2, json!({"latency_ms": 600_000}))).await;
    api.until_stage(&id, Stage::Generating).await;
    let running = workflow_handle(shared(), &id).await;
    running
        .cancel(
            WorkflowCancelOptions::builder()
                .reason("changed my mind")
                .build(),
        )
        .await
        .unwrap();
    let job = api.ended(&id).await;
    assert_eq!(job.status, JobStatus::Canceled, "{job:#?}");
    assert_eq!(cancel_outcome(&job), Some(CancelOutcome::Canceled));
    assert_eq!(
        temporal_status(&job).await,
        WorkflowExecutionStatus::Canceled
    );
    assert_eq!(manifest(&id)["status"], "canceled");
}

#[tokio::test]
async fn a_workflow_with_the_input_of_another_job_fails_and_buys_nothing() {
    let job_id: JobId = Uuid::now_v7().to_string().parse().unwrap();
    let request = serde_json::from_value(job(1, json!({}))).unwrap();
    let input = MediaGenerationInput {
        job: JobState::new(job_id, None, request, Timestamp::now()),
        start: Start::New,
        expects_reports: false,
    };
    let client = shared().temporal.client().await.unwrap();
    let id = Uuid::now_v7().to_string();
    let options = WorkflowStartOptions::new(WORKFLOW_QUEUE, id).build();
    let started = client.start_workflow(MediaGeneration::run, input, options);
    let ended = started
        .await
        .unwrap()
        .get_result(WorkflowGetResultOptions::default())
        .await;
    let error = format!("{:?}", ended.unwrap_err());
    assert!(error.contains("the workflow id must be"), "{error}");
    assert!(bought(shared().provider.as_ref(), &job_id).is_empty());
}

#[tokio::test]
async fn a_terminated_job_reads_as_failed() {
    let api = Api::of(shared());
    let id = api.accepted(&job(2, json!({"latency_ms": 600_000}))).await;
    terminate_workflow(shared(), &id).await;
    let job = api.ended(&id).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(
        failure_type(job.error.as_ref()),
        Some(FailureType::Internal)
    );
    assert_eq!(job.prompt.unwrap().as_str(), "a fox in the snow");
}

async fn temporal_status(job: &Job) -> WorkflowExecutionStatus {
    let handle = workflow_handle(shared(), &job.job_id).await;
    handle
        .describe(WorkflowDescribeOptions::default())
        .await
        .unwrap()
        .status()
}

#[tokio::test]
async fn an_output_that_has_moved_is_found_at_its_new_address() {
    let stack = shared();
    let gone = format!(
        "http://{}/files/none/0.png",
        stack.provider.as_ref().unwrap().address
    );
    let moved = json!({"urls": [gone], "urls_later": ["data:,a%20caption"], "latency_ms": 500, "webhooks": 0});
    let job = Api::of(stack).run(&job(1, moved)).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    let media = &job.media[0];
    assert_eq!((media.size, media.attempts), (Some(9), Some(1)));
}
