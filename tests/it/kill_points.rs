//! Every point of a purchase at which something can happen, times everything that can happen there.
//! Each job buys once at most, or is reported as in doubt. A job whose submission was never sent is
//! in doubt only if a worker was killed between its record and the call.
//!
//! `DARKROOM_FAULTS` sets how many jobs of each kind there are. More than one also brings longer
//! standstills.

use std::{process::Command, time::Duration};

use darkroom_client::types::{
    failure::FailureType, job_id::JobId, provider::CancelOutcome, resource::Job, status::JobStatus,
};
use darkroom_dev::{Options, Stack};
use darkroom_workflows::MediaGeneration;
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use temporalio_client::WorkflowDescribeOptions;
use temporalio_common::protos::temporal::api::enums::v1::EventType;

use crate::{
    resets::{reset, reset_generate},
    support::{
        harness::{
            Api, bought, cancel_outcome, failure_type, history_of, job, options, report, signal,
            start, terminate, until,
        },
        rpc_gate::{Held, Rpc, RpcGate},
    },
};

/// Timeout of a job.
const JOB_TIMEOUT: Duration = Duration::from_mins(3);

/// Deadline of jobs that are meant to miss it.
const SHORT: Duration = Duration::from_secs(8);

/// Progress of a purchase.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Point {
    /// The heartbeat that records the submission is on its way to Temporal.
    BeforeTheRecord,
    /// Temporal has the record, and its acknowledgement is on its way back. Nothing is sent to the
    /// provider yet.
    AfterTheRecord,
    /// The provider has accepted the request and has not answered.
    BodySent,
    /// The provider has answered, and the heartbeat that records the prediction is on its way to
    /// Temporal.
    Answered,
    /// Temporal has that record, and the activity polls the prediction.
    Submitted,
    /// The result of the activity is on its way to Temporal.
    ResultOnItsWay,
    /// Temporal has the result, and its acknowledgement is on its way back.
    ResultThere,
}

const POINTS: [Point; 7] = [
    Point::BeforeTheRecord,
    Point::AfterTheRecord,
    Point::BodySent,
    Point::Answered,
    Point::Submitted,
    Point::ResultOnItsWay,
    Point::ResultThere,
];

/// Visibility of a prediction at the provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shown {
    /// Listed by the provider.
    Listed,
    /// Not listed, as at a provider without lists; a webhook reports its end.
    Reported,
    /// Neither listed nor reported.
    Never,
}

/// Event that happens at a point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Event {
    WorkerKilled,
    WorkerStopped,
    Deadline,
    Canceled,
    WorkflowReset,
    ActivityReset,
    /// The provider reports the end by webhook.
    Report,
    /// Temporal is suspended (SIGSTOP) for this long.
    TemporalStill(Duration),
    /// The worker is suspended (SIGSTOP) for this long.
    WorkerStill(Duration),
}

struct Case {
    point: Point,
    shown: Shown,
    job_id: JobId,
}

fn request(point: Point, shown: Shown, event: Event) -> Value {
    let latency = match (point, event) {
        // Never ends by itself: the job must cancel it.
        (_, Event::Deadline | Event::Canceled) => 3_600_000,
        // Long enough to reach the point before the end, and short enough for a report to come
        // before a delayed answer.
        (Point::BodySent, Event::Report) | (Point::Submitted, _) => 2_500,
        _ => 100,
    };
    let mut request = job(
        1,
        json!({
            "latency_ms": latency,
            "answer_delay_ms": if point == Point::BodySent { 12_000 } else { 0 },
            "hidden": shown != Shown::Listed,
            // A job that knows its prediction waits for its webhook.
            "webhooks": match (shown, event, point) {
                (_, Event::Report, _) => 10,
                (Shown::Reported, ..) | (.., Point::Submitted) => 1,
                _ => 0,
            },
        }),
    );
    if event == Event::Deadline {
        request["deadline_seconds"] = SHORT.as_secs().into();
    }
    request
}

async fn is_reached(stack: &Stack, gate: &RpcGate, case: &Case) -> bool {
    match case.point {
        Point::BodySent => bought(stack.provider.as_ref(), &case.job_id).len() == 1,
        Point::Submitted => {
            let client = stack.temporal.client().await.unwrap();
            let handle = client.get_workflow_handle::<MediaGeneration>(case.job_id.to_string());
            let description = handle
                .describe(WorkflowDescribeOptions::default())
                .await
                .unwrap();
            description.raw().pending_activities.iter().any(|activity| {
                let details = activity.heartbeat_details.as_ref();
                details.is_some_and(|details| {
                    let said = String::from_utf8_lossy(&details.payloads[0].data).into_owned();
                    said.contains("\"submitted\"")
                })
            })
        }
        _ => gate.is_held(&case.job_id),
    }
}

fn hold(gate: &RpcGate, case: &Case) {
    let (rpc, held) = match case.point {
        Point::BeforeTheRecord => (Rpc::Records("\"submitting\""), Held::Request),
        Point::AfterTheRecord => (Rpc::Records("\"submitting\""), Held::Answer),
        Point::Answered => (Rpc::Records("\"submitted\""), Held::Request),
        Point::ResultOnItsWay => (Rpc::Completes, Held::Request),
        Point::ResultThere => (Rpc::Completes, Held::Answer),
        Point::BodySent | Point::Submitted => return,
    };
    gate.hold(&case.job_id, rpc, held);
}

async fn happens(event: Event, stack: &mut Stack, gate: &RpcGate, api: &Api, cases: &[Case]) {
    match event {
        Event::TemporalStill(time) => {
            // The server is a child of the process that supervises it.
            signal_children(stack.temporal.id(), "STOP");
            gate.open();
            tokio::time::sleep(time).await;
            signal_children(stack.temporal.id(), "CONT");
        }
        Event::WorkerStill(time) => {
            signal(&stack.worker, "STOP");
            gate.open();
            tokio::time::sleep(time).await;
            signal(&stack.worker, "CONT");
        }
        Event::WorkerKilled => {
            // Held calls are lost with the worker, so the gate need not open.
            stack.worker.kill();
            stack.worker = stack.spawn("worker").unwrap();
        }
        Event::WorkerStopped => {
            terminate(&stack.worker);
            let other = stack.spawn("worker").unwrap();
            gate.open();
            until("the end of the worker", async || {
                (!stack.worker.is_running()).then_some(())
            })
            .await;
            stack.worker = other;
        }
        Event::Deadline => {
            join_all(cases.iter().map(async |case| {
                until("a deadline that has passed", async || {
                    let created_at = api.get(&case.job_id).await.created_at;
                    (Timestamp::now() > created_at + SHORT).then_some(())
                })
                .await;
            }))
            .await;
            gate.open();
        }
        Event::Canceled => {
            let canceled = cases.iter().map(|case| api.act(&case.job_id, "cancel"));
            for canceled in join_all(canceled).await {
                assert!(canceled.status().is_success());
            }
            gate.open();
        }
        Event::WorkflowReset => {
            join_all(cases.iter().map(async |case| {
                let events = history_of(stack, &case.job_id).await;
                let task = events
                    .iter()
                    .find(|event| event.event_type() == EventType::WorkflowTaskCompleted);
                reset(stack, &case.job_id, task.unwrap().event_id).await;
            }))
            .await;
            gate.open();
        }
        Event::ActivityReset => {
            join_all(
                cases
                    .iter()
                    .map(|case| reset_generate(stack, &case.job_id, false)),
            )
            .await;
            gate.open();
        }
        Event::Report => {
            join_all(cases.iter().map(async |case| {
                // Nothing is bought yet at these points, so there is no report.
                if matches!(case.point, Point::BeforeTheRecord | Point::AfterTheRecord) {
                    return;
                }
                until("a report", async || {
                    let bought = bought(stack.provider.as_ref(), &case.job_id).pop()?;
                    let provider = stack.provider.as_ref().unwrap();
                    (provider.reports_of(&bought.id) > 0).then_some(())
                })
                .await;
            }))
            .await;
            gate.open();
        }
    }
}

fn signal_children(of: u32, name: &str) {
    let sent = Command::new("pkill")
        .args(["--signal", name, "--parent", &of.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Asserts that the prediction of a stopped job has ended, or that the job is in doubt about it.
fn assert_stopped(stack: &Stack, case: &Case, job: &Job) {
    let Some(prediction) = bought(stack.provider.as_ref(), &case.job_id).pop() else {
        return;
    };
    let has_ended = prediction.status(Timestamp::now()).is_terminal();
    let is_told =
        cancel_outcome(job) == Some(CancelOutcome::Unknown) && job.in_doubt_since.is_some();
    assert!(
        has_ended || is_told,
        "{:?}, {:?}: {job:#?}",
        case.point,
        case.shown
    );
}

/// Number of jobs of each kind.
fn copies() -> usize {
    std::env::var("DARKROOM_FAULTS").map_or(1, |copies| copies.parse().unwrap())
}

/// Durations for which a process is suspended: less than the maximum age of an acknowledgement,
/// more than that, and more than the heartbeat timeout.
fn standstills() -> Vec<Duration> {
    let seconds: &[u64] = if copies() > 1 { &[1, 5, 15, 40] } else { &[5] };
    seconds.iter().copied().map(Duration::from_secs).collect()
}

/// Ability of the provider to list predictions.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Provider {
    Lists,
    CannotList,
}

/// Runs jobs up to every point, lets the event happen to all of them at once, and checks their
/// ends.
async fn every_point(event: Event, provider: Provider, name: &str) {
    let options = Options {
        variables: vec![("SUBMISSION_SEARCH_SECONDS", "20".to_owned())],
        ..options(name)
    };
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    let gate = RpcGate::start(&stack.temporal.address).await;
    stack.worker.kill();
    if provider == Provider::CannotList {
        stack.provider.as_ref().unwrap().stop_listing();
    }
    let mut cases = Vec::new();
    for point in POINTS {
        for shown in [Shown::Listed, Shown::Reported, Shown::Never].repeat(copies()) {
            let is_pointless = match shown {
                Shown::Listed => provider == Provider::CannotList,
                Shown::Reported => false,
                Shown::Never => event == Event::Report,
            };
            if is_pointless {
                continue;
            }
            let job_id = api.accepted(&request(point, shown, event)).await;
            let case = Case {
                point,
                shown,
                job_id,
            };
            hold(&gate, &case);
            cases.push(case);
        }
    }
    let gated = [("TEMPORAL_ADDRESS", gate.address.clone())];
    stack.worker = stack
        .spawn_worker("worker-gated", &options.binary, &gated)
        .unwrap();
    join_all(cases.iter().map(async |case| {
        until(
            &format!("{:?} of {}", case.point, case.job_id),
            async || is_reached(&stack, &gate, case).await.then_some(()),
        )
        .await;
    }))
    .await;
    happens(event, &mut stack, &gate, &api, &cases).await;

    let ended = cases.iter().map(async |case| {
        let job = api.ended_within(&case.job_id, JOB_TIMEOUT).await;
        let bought = bought(stack.provider.as_ref(), &case.job_id).len();
        (case, job, bought)
    });
    let (mut completed, mut parked) = (0, 0);
    for (case, job, bought) in join_all(ended).await {
        let Case { point, shown, .. } = case;
        let told = format!("{event:?} at {point:?}, {shown:?}: {bought} bought, {job:#?}");
        assert!(bought <= 1, "{told}");
        match (job.status, failure_type(job.error.as_ref())) {
            (JobStatus::Completed, _) => {
                assert_eq!(bought, 1, "{told}");
                completed += 1;
            }
            (JobStatus::Failed, Some(FailureType::DeadlineExceeded)) => {
                assert_eq!(event, Event::Deadline, "{told}");
                assert_stopped(&stack, case, &job);
            }
            (JobStatus::Canceled, _) => {
                assert_eq!(event, Event::Canceled, "{told}");
                assert_stopped(&stack, case, &job);
            }
            (JobStatus::Failed, Some(FailureType::SubmissionUnknown)) => {
                assert!(job.in_doubt_since.is_some(), "{told}");
                // A prediction that the provider lists or reports must be found.
                let is_shown = bought == 1 && *shown != Shown::Never;
                assert!(!is_shown, "{told}");
                // A submission that was never sent is not in doubt, unless the worker that knew it
                // was killed.
                let is_known = bought == 0
                    && !(event == Event::WorkerKilled && *point == Point::AfterTheRecord);
                assert!(!is_known, "{told}");
                parked += 1;
            }
            _ => panic!("{told}"),
        }
    }
    report(&format!(
        "{event:?}: {} jobs, {completed} completed, {parked} parked",
        cases.len()
    ));
}

#[tokio::test]
async fn a_worker_killed_at_every_point() {
    every_point(Event::WorkerKilled, Provider::Lists, "point-killed").await;
}

#[tokio::test]
async fn a_worker_stopped_at_every_point() {
    every_point(Event::WorkerStopped, Provider::Lists, "point-stopped").await;
}

#[tokio::test]
async fn a_deadline_at_every_point() {
    every_point(Event::Deadline, Provider::Lists, "point-deadline").await;
}

#[tokio::test]
async fn a_cancellation_at_every_point() {
    every_point(Event::Canceled, Provider::Lists, "point-canceled").await;
}

#[tokio::test]
async fn a_workflow_reset_at_every_point() {
    every_point(Event::WorkflowReset, Provider::Lists, "point-reset").await;
}

#[tokio::test]
async fn an_activity_reset_at_every_point() {
    every_point(
        Event::ActivityReset,
        Provider::Lists,
        "point-activity-reset",
    )
    .await;
}

#[tokio::test]
async fn a_report_at_every_point() {
    every_point(Event::Report, Provider::Lists, "point-report").await;
}

#[tokio::test]
async fn temporal_stands_still_at_every_point() {
    for time in standstills() {
        every_point(
            Event::TemporalStill(time),
            Provider::Lists,
            "point-temporal-still",
        )
        .await;
    }
}

#[tokio::test]
async fn a_worker_stands_still_at_every_point() {
    for time in standstills() {
        every_point(
            Event::WorkerStill(time),
            Provider::Lists,
            "point-worker-still",
        )
        .await;
    }
}

#[tokio::test]
async fn a_worker_killed_at_every_point_where_the_provider_cannot_list() {
    every_point(Event::WorkerKilled, Provider::CannotList, "point-no-list").await;
}

#[tokio::test]
async fn a_workflow_reset_at_every_point_where_the_provider_cannot_list() {
    every_point(
        Event::WorkflowReset,
        Provider::CannotList,
        "point-no-list-reset",
    )
    .await;
}
