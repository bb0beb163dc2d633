//! Queries do not affect workflow execution: after a query every history still replays.

use std::{pin::pin, time::Duration};

use darkroom_client::types::{job_id::JobId, status::JobStatus};
use darkroom_dev::{Stack, provider::prediction::Prediction};
use darkroom_worker::history;
use darkroom_workflows::{MediaGeneration, media_generation::PredictionReport};
use futures::future::{Either, join, join_all, select};
use serde_json::json;
use temporalio_client::{WorkflowCancelOptions, WorkflowQueryOptions, WorkflowSignalOptions};
use temporalio_common::protos::temporal::api::{enums::v1::EventType, history::v1::HistoryEvent};

use crate::{
    faults::rounds,
    support::{
        api::Api,
        harness::{bought_one, endless, job, options, report, start, submission_of},
        processes::restart_worker,
        workflows::{history_of, until_submitted},
    },
};

/// Queries each job while its next task waits on the sticky queue of a killed worker. Another
/// worker answers from the history so far, caches the workflow, and later gets the task with
/// further events.
#[tokio::test]
async fn a_job_that_is_queried_between_its_tasks_can_be_replayed() {
    const ROUNDS: usize = 5;
    let mut stack = start(&options("queries")).await;
    let mut between = 0;
    // Which queries are answered in between depends on the moment.
    for round in 1..=ROUNDS {
        between = answered_in_between(&mut stack).await;
        report(&format!(
            "round {round}: {between} queries were answered between a report and its task"
        ));
        if between > 0 {
            break;
        }
    }
    assert!(
        between > 0,
        "no query was answered between a report and its task"
    );
}

/// Number of jobs that were queried between a report and its task. All of them can be replayed.
async fn answered_in_between(stack: &mut Stack) -> usize {
    const JOBS: usize = 8;
    const JOB_TIMEOUT: Duration = Duration::from_mins(2);
    let api = Api::of(stack);
    let client = stack.temporal.client().await.unwrap();
    let ids = join_all((0..JOBS).map(async |_| api.accepted(&endless()).await)).await;
    let predictions = join_all(ids.iter().map(|id| bought_one(stack.provider.as_ref(), id))).await;
    join_all(ids.iter().map(|id| until_submitted(stack, id))).await;

    restart_worker(stack);
    let query_and_cancel = async |(number, (id, prediction)): (u32, (&JobId, &Prediction))| {
        let handle = client.get_workflow_handle::<MediaGeneration>(id.to_string());
        let queried = handle.query(MediaGeneration::state, (), WorkflowQueryOptions::default());
        let reported = async {
            // Temporal first keeps the query for the killed worker's sticky queue, and a little
            // later the task as well: each job has another time in between.
            tokio::time::sleep(number * Duration::from_millis(250)).await;
            let report = PredictionReport {
                submission_id: submission_of(prediction),
                prediction_id: prediction.id.parse().unwrap(),
            };
            handle
                .signal(
                    MediaGeneration::prediction_reported,
                    report,
                    WorkflowSignalOptions::default(),
                )
                .await
        };
        // Ignored: Temporal drops some queries under load.
        let (_, reported) = join(queried, reported).await;
        reported.unwrap();
        handle
            .cancel(WorkflowCancelOptions::default())
            .await
            .unwrap();
    };
    join_all(
        (1..)
            .zip(ids.iter().zip(&predictions))
            .map(query_and_cancel),
    )
    .await;
    let mut between = 0;
    for id in &ids {
        let job = api.ended_within(id, JOB_TIMEOUT).await;
        assert_eq!(job.status, JobStatus::Canceled, "{job:#?}");
        let recorded = history::fetch_from(&client, &id.to_string()).await.unwrap();
        history::replay(recorded.as_bytes()).await.unwrap();
        let events = history_of(stack, id).await;
        between += usize::from(is_canceled_in_the_task_of_the_report(&events));
    }
    between
}

/// Queries jobs all the time, also while their workflow tasks wait for local activities.
#[tokio::test]
async fn jobs_that_are_queried_at_any_moment_can_be_replayed() {
    const JOBS: u64 = 10;
    let stack = start(&options("asked")).await;
    let api = Api::of(&stack);
    let client = stack.temporal.client().await.unwrap();
    let run = async |number: u64| {
        let id = api
            .accepted(&job(3, json!({"latency_ms": 300 + number * 40})))
            .await;
        let handle = client.get_workflow_handle::<MediaGeneration>(id.to_string());
        let query = async {
            loop {
                let queried =
                    handle.query(MediaGeneration::state, (), WorkflowQueryOptions::default());
                // Ignored: Temporal drops some queries under load.
                let _ = tokio::time::timeout(Duration::from_secs(2), queried).await;
            }
        };
        let end = async {
            if number.is_multiple_of(2) {
                tokio::time::sleep(Duration::from_millis(200 + number * 30)).await;
                // Ignored: the job may have ended by then.
                let _ = handle.cancel(WorkflowCancelOptions::default()).await;
            }
            api.ended(&id).await
        };
        let (Either::Left((job, _)) | Either::Right((job, _))) =
            select(pin!(end), pin!(query)).await;
        assert!(
            [JobStatus::Completed, JobStatus::Canceled].contains(&job.status),
            "{job:#?}"
        );
        let recorded = history::fetch_from(&client, &id.to_string()).await.unwrap();
        history::replay(recorded.as_bytes()).await.unwrap();
    };
    for _ in 0..rounds().div_ceil(4) {
        join_all((0..JOBS).map(run)).await;
    }
}

/// True if one workflow task covers both the signal and the cancellation. Then the query between
/// them was answered by a worker that had seen the signal and had no task for it.
fn is_canceled_in_the_task_of_the_report(events: &[HistoryEvent]) -> bool {
    let kinds = events.iter().map(HistoryEvent::event_type);
    let mut until_the_task = kinds
        .skip_while(|kind| *kind != EventType::WorkflowExecutionSignaled)
        .take_while(|kind| *kind != EventType::WorkflowTaskStarted);
    until_the_task.any(|kind| kind == EventType::WorkflowExecutionCancelRequested)
}
