//! Upgrades and worker recycling: workers of an old and a new build on the same task queues, and a
//! worker that replaces itself, with jobs under way.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use darkroom_client::types::{job_id::JobId, status::JobStatus};
use darkroom_dev::{Options, Stack};
use futures::future::join_all;
use serde_json::json;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

use crate::support::{
    api::Api,
    harness::{BINARY, bought_one, job, options, options_with, report, start, until},
    processes::{log_of, start_worker, terminate, until_exited},
    workflows::history_of,
};

/// Timeout of a job.
const JOB_TIMEOUT: Duration = Duration::from_mins(3);

/// Binary with an earlier version of the workflow code, which `.ci/previous` builds.
fn previous() -> Option<PathBuf> {
    let path =
        PathBuf::from(std::env::var_os("DARKROOM_PREVIOUS").filter(|path| !path.is_empty())?);
    assert!(
        path.is_file(),
        "DARKROOM_PREVIOUS: {} is not there",
        path.display()
    );
    Some(path)
}

/// Process ids of the workers that completed the workflow tasks of a job.
async fn workers_of(stack: &Stack, job_id: &JobId) -> Vec<u32> {
    let events = history_of(stack, job_id).await;
    let identities = events
        .iter()
        .filter_map(|event| match event.attributes.as_ref()? {
            Attributes::WorkflowTaskCompletedEventAttributes(completed) => {
                Some(&completed.identity)
            }
            _ => None,
        });
    identities
        .map(|identity| identity.split('@').next().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn jobs_move_from_an_old_build_to_a_new_one() {
    let Some(previous) = previous() else {
        report(
            "skipped: DARKROOM_PREVIOUS names no binary of an earlier version; .ci/previous builds one",
        );
        return;
    };
    let mut stack = start(&options("upgrade")).await;
    let api = Api::of(&stack);
    stack.worker.kill();
    let old = stack.spawn_worker("worker-old", &previous, &[]).unwrap();
    let accept = async |number: usize| {
        let latency = 1000 + number % 8 * 1500;
        let dev = json!({"bytes": 100_000, "latency_ms": latency, "missing": [number % 5]});
        api.accepted(&job(4, dev)).await
    };
    let mut ids = join_all((0..20).map(accept)).await;
    until("jobs that the old build has ended", async || {
        let jobs = join_all(ids.iter().map(|id| api.get(id))).await;
        let ended = jobs.iter().filter(|job| job.completed_at.is_some());
        (ended.count() >= 3).then_some(())
    })
    .await;

    start_worker(&mut stack);
    ids.extend(join_all((20..40).map(accept)).await);
    // Both builds complete workflow tasks of the jobs that were accepted since.
    until("jobs of either build", async || {
        let workers: Vec<u32> = join_all(ids[20..].iter().map(|id| workers_of(&stack, id)))
            .await
            .concat();
        [&old, &stack.worker]
            .iter()
            .all(|worker| workers.contains(&worker.id()))
            .then_some(())
    })
    .await;
    ids.extend(join_all((40..50).map(accept)).await);
    terminate(&old);
    until_exited(&old).await;
    let ended = join_all(ids.iter().map(|id| api.ended_within(id, JOB_TIMEOUT))).await;
    for (number, job) in ended.iter().enumerate() {
        let status = if number % 5 < 4 {
            JobStatus::Partial
        } else {
            JobStatus::Completed
        };
        assert_eq!(job.status, status, "{job:#?}");
    }
    assert_eq!(
        stack.provider.as_ref().unwrap().predictions().len(),
        ids.len(),
        "each job is paid for once"
    );
    let mut moved = 0;
    for id in &ids {
        let workers = workers_of(&stack, id).await;
        moved += usize::from(workers.contains(&old.id()) && workers.contains(&stack.worker.id()));
    }
    report(&format!(
        "{moved} of {} jobs began with the old build and ended with the new one",
        ids.len()
    ));
    assert!(moved >= 5, "only {moved} jobs moved");
}

/// Deploys a new build without an operator who sets the current version.
#[tokio::test]
async fn a_new_build_takes_over_when_the_current_one_is_gone() {
    let build = |id: &str| {
        [
            ("WORKER_DEPLOYMENT", "upgrade".to_owned()),
            ("WORKER_BUILD_ID", id.to_owned()),
        ]
    };
    let options = Options {
        variables: build("one").to_vec(),
        ..options("builds")
    };
    let stack = start(&options).await;
    let api = Api::of(&stack);
    assert_eq!(
        api.run(&job(1, json!({}))).await.status,
        JobStatus::Completed,
        "a build that is alone is current at once"
    );

    let dev = json!({"latency_ms": 4000, "webhooks": 0});
    let under_way = api.accepted(&job(2, dev.clone())).await;
    bought_one(stack.provider.as_ref(), &under_way).await;
    let next = stack
        .spawn_worker("worker-two", Path::new(BINARY), &build("two"))
        .unwrap();
    until("a build that waits", async || {
        let log = log_of(&options.directory, "worker-two");
        log.contains("gets no work until it is current")
            .then_some(())
    })
    .await;
    terminate(&stack.worker);
    until_exited(&stack.worker).await;
    let accepted = api.accepted(&job(2, dev)).await;
    for id in [&under_way, &accepted] {
        let job = api.ended_within(id, JOB_TIMEOUT).await;
        assert_eq!(job.status, JobStatus::Completed);
    }
    assert!(
        workers_of(&stack, &accepted)
            .await
            .iter()
            .all(|worker| *worker == next.id())
    );
    assert_eq!(
        stack.provider.as_ref().unwrap().predictions().len(),
        3,
        "each job is paid for once"
    );
}

/// The worker recycles the SDK's worker after a number of activities, as that keeps some memory of
/// each. Jobs are not affected.
#[tokio::test]
async fn a_worker_is_recycled_under_jobs() {
    const JOBS: usize = 40;
    let options = options_with("recycled", &[("WORKER_RECYCLE_AFTER", "25")]);
    let stack = start(&options).await;
    let api = Api::of(&stack);
    let run = async |number: usize| {
        let body = job(4, json!({"latency_ms": number % 10 * 400}));
        // A task that was dispatched to a worker as it shut down is retried after its timeout of a
        // minute.
        api.ended_within(&api.accepted(&body).await, JOB_TIMEOUT)
            .await
    };
    for job in join_all((0..JOBS).map(run)).await {
        assert_eq!(job.status, JobStatus::Completed, "{job:#?}");
    }
    assert_eq!(stack.provider.as_ref().unwrap().predictions().len(), JOBS);
    let log = log_of(&options.directory, "worker");
    let recycled = log.matches("worker recycled").count();
    report(&format!("recycled {recycled} times under {JOBS} jobs"));
    assert!(recycled >= 4, "recycled {recycled} times only");
}
