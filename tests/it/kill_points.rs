//! Every point of a purchase at which something can happen, times everything that can happen there.
//! Each job buys once at most, or is reported as in doubt. A job whose submission was never sent is
//! in doubt only if a worker was killed between its record and the call.
//!
//! `DARKROOM_FAULTS` sets how many jobs of each kind there are. More than one also brings longer
//! suspensions.

use std::{process::Command, time::Duration};

use darkroom_client::types::{
    failure::FailureType, job_id::JobId, provider::CancelOutcome, resource::Job, status::JobStatus,
};
use darkroom_dev::Stack;
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    resets::{first_task, reset, reset_generate},
    support::{
        api::Api,
        harness::{
            bought, cancel_outcome, failure_type, job, options_with, report, setting, start, until,
        },
        processes::{restart_worker, signal, terminate, until_exited},
        rpc_gate::{Held, Rpc, RpcGate},
        workflows::{history_of, pending_activities, workflow_handle},
    },
};

/// Timeout of a job.
const JOB_TIMEOUT: Duration = Duration::from_mins(3);

/// Deadline of jobs that are meant to miss it.
const SHORT: Duration = Duration::from_secs(8);

/// Delay of an answer during which a point in the middle of the call is reached.
const ANSWER_DELAY: Duration = Duration::from_secs(12);

/// Progress of a purchase.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Point {
    /// The heartbeat that records the submission is on its way to Temporal.
    BeforeRecord,
    /// Temporal has the record, and its acknowledgement is on its way back. Nothing is sent to the
    /// provider yet.
    AfterRecord,
    /// The provider has accepted the request and has not answered.
    BodySent,
    /// The provider has answered, and the heartbeat that records the prediction is on its way to
    /// Temporal.
    Answered,
    /// Temporal has that record, and the activity polls the prediction.
    Submitted,
    /// The result of the activity is on its way to Temporal.
    ResultSent,
    /// Temporal has the result, and its acknowledgement is on its way back.
    ResultReceived,
}

const POINTS: [Point; 7] = [
    Point::BeforeRecord,
    Point::AfterRecord,
    Point::BodySent,
    Point::Answered,
    Point::Submitted,
    Point::ResultSent,
    Point::ResultReceived,
];

/// Visibility of a prediction at the provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Visibility {
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
    TemporalSuspended(Duration),
    /// The worker is suspended (SIGSTOP) for this long.
    WorkerSuspended(Duration),
}

struct Case {
    point: Point,
    visibility: Visibility,
    job_id: JobId,
}

fn request(point: Point, visibility: Visibility, event: Event) -> Value {
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
            "answer_delay_ms": if point == Point::BodySent { ANSWER_DELAY.as_millis() } else { 0 },
            "hidden": visibility != Visibility::Listed,
            // A job that knows its prediction waits for its webhook.
            "webhooks": match (visibility, event, point) {
                (_, Event::Report, _) => 10,
                (Visibility::Reported, ..) | (.., Point::Submitted) => 1,
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
            let handle = workflow_handle(stack, &case.job_id).await;
            pending_activities(&handle).await.iter().any(|activity| {
                let details = activity.heartbeat_details.as_ref();
                details.is_some_and(|details| {
                    let text = String::from_utf8_lossy(&details.payloads[0].data);
                    text.contains("\"submitted\"")
                })
            })
        }
        _ => gate.is_held(&case.job_id),
    }
}

fn hold(gate: &RpcGate, case: &Case) {
    let (rpc, held) = match case.point {
        Point::BeforeRecord => (Rpc::Records("\"submitting\""), Held::Request),
        Point::AfterRecord => (Rpc::Records("\"submitting\""), Held::Answer),
        Point::Answered => (Rpc::Records("\"submitted\""), Held::Request),
        Point::ResultSent => (Rpc::Completes, Held::Request),
        Point::ResultReceived => (Rpc::Completes, Held::Answer),
        Point::BodySent | Point::Submitted => return,
    };
    gate.hold(&case.job_id, rpc, held);
}

/// Lets an event happen to all cases at once.
async fn inject(event: Event, stack: &mut Stack, gate: &RpcGate, api: &Api, cases: &[Case]) {
    match event {
        Event::TemporalSuspended(time) => {
            // The server is a child of the process that supervises it.
            signal_children(stack.temporal.id(), "STOP");
            gate.open();
            tokio::time::sleep(time).await;
            signal_children(stack.temporal.id(), "CONT");
        }
        Event::WorkerSuspended(time) => {
            signal(&stack.worker, "STOP");
            gate.open();
            tokio::time::sleep(time).await;
            signal(&stack.worker, "CONT");
        }
        Event::WorkerKilled => {
            // Held calls are lost with the worker, so the gate need not open.
            restart_worker(stack);
        }
        Event::WorkerStopped => {
            terminate(&stack.worker);
            let other = stack.spawn("worker").unwrap();
            gate.open();
            until_exited(&stack.worker).await;
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
                reset(stack, &case.job_id, first_task(&events).unwrap()).await;
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
                if matches!(case.point, Point::BeforeRecord | Point::AfterRecord) {
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
    let is_in_doubt =
        cancel_outcome(job) == Some(CancelOutcome::Unknown) && job.in_doubt_since.is_some();
    assert!(
        has_ended || is_in_doubt,
        "{:?}, {:?}: {job:#?}",
        case.point,
        case.visibility
    );
}

/// Number of jobs of each kind.
fn copies() -> usize {
    setting("DARKROOM_FAULTS", 1)
}

/// Durations for which a process is suspended: less than the maximum age of an acknowledgement,
/// more than that, and more than the heartbeat timeout.
fn suspensions() -> Vec<Duration> {
    let seconds: &[u64] = if copies() > 1 { &[1, 5, 15, 55] } else { &[5] };
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
    let options = options_with(name, &[("SUBMISSION_SEARCH_SECONDS", "10")]);
    let mut stack = start(&options).await;
    let api = Api::of(&stack);
    let gate = RpcGate::start(&stack.temporal.address).await;
    stack.worker.kill();
    if provider == Provider::CannotList {
        stack.provider.as_ref().unwrap().stop_listing();
    }
    let mut cases = Vec::new();
    for point in POINTS {
        for visibility in
            [Visibility::Listed, Visibility::Reported, Visibility::Never].repeat(copies())
        {
            let is_excluded = match visibility {
                Visibility::Listed => provider == Provider::CannotList,
                Visibility::Reported => false,
                Visibility::Never => event == Event::Report,
            };
            if is_excluded {
                continue;
            }
            let job_id = api.accepted(&request(point, visibility, event)).await;
            let case = Case {
                point,
                visibility,
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
    inject(event, &mut stack, &gate, &api, &cases).await;

    let ended = cases.iter().map(async |case| {
        let job = api.ended_within(&case.job_id, JOB_TIMEOUT).await;
        let bought = bought(stack.provider.as_ref(), &case.job_id).len();
        (case, job, bought)
    });
    let (mut completed, mut in_doubt) = (0, 0);
    for (case, job, bought) in join_all(ended).await {
        let Case {
            point, visibility, ..
        } = case;
        let description =
            format!("{event:?} at {point:?}, {visibility:?}: {bought} bought, {job:#?}");
        assert!(bought <= 1, "{description}");
        match (job.status, failure_type(job.error.as_ref())) {
            (JobStatus::Completed, _) => {
                assert_eq!(bought, 1, "{description}");
                completed += 1;
            }
            (JobStatus::Failed, Some(FailureType::DeadlineExceeded)) => {
                assert_eq!(event, Event::Deadline, "{description}");
                assert_stopped(&stack, case, &job);
            }
            (JobStatus::Canceled, _) => {
                assert_eq!(event, Event::Canceled, "{description}");
                assert_stopped(&stack, case, &job);
            }
            (JobStatus::Failed, Some(FailureType::SubmissionUnknown)) => {
                assert!(job.in_doubt_since.is_some(), "{description}");
                // A prediction that the provider lists or reports must be found.
                let is_shown = bought == 1 && *visibility != Visibility::Never;
                assert!(!is_shown, "{description}");
                // A submission that was never sent is not in doubt, unless the worker that knew it
                // was killed.
                let is_known =
                    bought == 0 && !(event == Event::WorkerKilled && *point == Point::AfterRecord);
                assert!(!is_known, "{description}");
                in_doubt += 1;
            }
            _ => panic!("{description}"),
        }
    }
    report(&format!(
        "{event:?}: {} jobs, {completed} completed, {in_doubt} in doubt",
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
async fn temporal_suspended_at_every_point() {
    for time in suspensions() {
        every_point(
            Event::TemporalSuspended(time),
            Provider::Lists,
            "point-temporal-still",
        )
        .await;
    }
}

#[tokio::test]
async fn a_worker_suspended_at_every_point() {
    for time in suspensions() {
        every_point(
            Event::WorkerSuspended(time),
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
