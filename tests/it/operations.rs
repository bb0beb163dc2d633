//! Test of `docs/operations.md`: every line of it that can be run here is run against the
//! production stack, in the situation that it is meant for.

use std::time::Duration;

use darkroom_client::types::{
    failure::FailureType,
    job_id::JobId,
    provider::CancelOutcome,
    status::{JobStatus, MediaStatus, Stage},
};
use darkroom_dev::{production::Production, provider::control::Outage};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    production::start,
    runbook::Runbook,
    support::{
        api::{Api, job_in},
        harness::{
            bought, bought_one, cancel_outcome, change_script, count, endless, failure_type, job,
            until, until_within,
        },
        processes::{terminate, until_exited},
    },
};

const JOB_TIMEOUT: Duration = Duration::from_mins(3);

// Sections of the page that more than one function uses, or that have many lines.
const LOOK_AROUND: &str = "Look around";
const FIND_JOBS: &str = "Find jobs";
const LOOK_AT_A_JOB: &str = "Look at a job";
const JOBS_FAIL: &str = "Jobs fail";

/// Sections about servers that are away, and about changes of the whole stack: a test of their own,
/// as they take as long as all others.
const OUTAGES: [&str; 9] = [
    "Provider outage",
    "The provider's limits",
    "S3 outage",
    "Temporal outage",
    "Drain a worker",
    "Rotate keys",
    "Back up and restore",
    "Darkroom",
    "Temporal and PostgreSQL",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_runbook_about_jobs_does_what_it_says() {
    let (stack, api, _directory) = start(2).await;
    let runbook = Runbook::of(&stack);
    // Started first: it takes Temporal a while to report a failing workflow task as a problem.
    let stuck = runbook
        .cli("workflow start --type Unknown --task-queue media-generation --workflow-id stuck");
    stuck.await;

    inspect(&runbook, &api, &stack).await;
    cancel(&runbook, &api).await;
    delete(&runbook, &api).await;
    terminate_one(&runbook, &api, &stack).await;
    reset(&runbook, &api, &stack).await;
    pause(&runbook, &api, &stack).await;
    retention(&runbook).await;
    stuck_task(&runbook, &api, &stack).await;
    let unused = runbook.unused(|section| !OUTAGES.contains(&section));
    assert_eq!(unused, Vec::<&str>::new(), "lines that were not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_runbook_about_outages_does_what_it_says() {
    let (mut stack, api, _directory) = start(2).await;
    let runbook = Runbook::of(&stack);
    provider_outage(&runbook, &api, &stack).await;
    store_outage(&runbook, &api, &mut stack).await;
    drain(&runbook, &stack).await;
    restore(&runbook, &api, &mut stack).await;
    upgrade(&runbook, &api, &mut stack).await;
    let unused = runbook.unused(|section| OUTAGES.contains(&section));
    assert_eq!(unused, Vec::<&str>::new(), "lines that were not run");
}

/// Creates a job and waits until its prediction is under way.
async fn generating(api: &Api, stack: &Production) -> JobId {
    let id = api.accepted(&endless()).await;
    bought_one(stack.provider.as_ref(), &id).await;
    id
}

async fn inspect(runbook: &Runbook, api: &Api, stack: &Production) {
    assert!(
        runbook
            .run(LOOK_AROUND, "cluster health", &[])
            .await
            .contains("SERVING")
    );
    let attributes = runbook.run(LOOK_AROUND, "search-attribute list", &[]).await;
    for name in darkroom_workflows::search_attributes::NAMES {
        assert!(attributes.contains(name), "{attributes}");
    }
    let id = generating(api, stack).await;
    runbook
        .run_until(LOOK_AROUND, "workflow count", &[], "Total: 1")
        .await;
    for queue in ["media-generation", "media-persist"] {
        for worker in &stack.workers {
            let identity = format!("{}@", worker.id());
            runbook.run_until(LOOK_AROUND, queue, &[], &identity).await;
        }
    }

    let partial = api.run(&job(3, json!({"missing": [1]}))).await;
    let failed = api.run(&job(3, json!({"fail": "no"}))).await;
    let (partial, failed) = (&partial.job_id.to_string(), &failed.job_id.to_string());
    runbook
        .run_until(FIND_JOBS, "JobStatus = \"failed\" OR", &[], failed)
        .await;
    runbook.run_until(FIND_JOBS, "Tenant =", &[], partial).await;
    let open = runbook.run(FIND_JOBS, "StartTime", &[]).await;
    assert!(
        !open.contains(&id.to_string()),
        "it has not been open for an hour"
    );

    let job_id = id.to_string();
    let variables = [("JOB", job_id.as_str())];
    runbook
        .run_until(LOOK_AT_A_JOB, "describe", &variables, "MediaGeneration")
        .await;
    let stage = r#""stage":"generating""#;
    let state = runbook
        .run_until(LOOK_AT_A_JOB, "--type state", &variables, stage)
        .await;
    let prediction = &bought(stack.provider.as_ref(), &id)[0].id;
    assert!(state.contains(prediction), "{state}");
    let shown = runbook.run(LOOK_AT_A_JOB, "show", &variables).await;
    assert!(shown.contains("ActivityTaskScheduled"));

    runbook
        .run_until(JOBS_FAIL, "workflow list", &[], failed)
        .await;
    let outcome = runbook
        .try_run(JOBS_FAIL, &["result"], &[("JOB", failed)])
        .await;
    assert!(
        outcome.text.contains("GenerationFailed"),
        "{}",
        outcome.text
    );
    runbook
        .run_until("An orphaned prediction", "workflow list", &[], failed)
        .await;
    api.act(&id, "cancel").await;
}

async fn delete(runbook: &Runbook, api: &Api) {
    let id = api.accepted(&endless()).await;
    api.client.delete_job(&id).await.unwrap();
    let deletion = format!("delete-{id}");
    runbook
        .run_until("Delete", "JobDeletion", &[], &deletion)
        .await;
    until("the end of a job", async || {
        let listed = runbook.run("Delete", "JobDeletion", &[]).await;
        (!listed.contains(&deletion)).then_some(())
    })
    .await;
}

async fn cancel(runbook: &Runbook, api: &Api) {
    let id = api.accepted(&endless()).await;
    api.until_stage(&id, Stage::Generating).await;
    let job_id = id.to_string();
    let variables = [("JOB", job_id.as_str())];
    runbook.run("Cancel", "-w \"$JOB\"", &variables).await;
    let canceled = api.ended(&id).await;
    assert_eq!(canceled.status, JobStatus::Canceled);
    assert_eq!(cancel_outcome(&canceled), Some(CancelOutcome::Canceled));

    let mut withdrawn = endless();
    withdrawn["model"] = "acme/withdrawn".into();
    let ids = [
        api.accepted(&withdrawn).await,
        api.accepted(&withdrawn).await,
    ];
    until("jobs that are found", async || {
        let counted = runbook
            .cli("workflow count --query 'Model = \"acme/withdrawn\"'")
            .await;
        counted.contains("Total: 2").then_some(())
    })
    .await;
    runbook.run("Cancel", "--yes", &[]).await;
    for id in ids {
        assert_eq!(api.ended(&id).await.status, JobStatus::Canceled);
    }
}

async fn terminate_one(runbook: &Runbook, api: &Api, stack: &Production) {
    let id = generating(api, stack).await;
    let job_id = id.to_string();
    let variables = [("JOB", job_id.as_str())];
    runbook
        .run("Terminate", "workflow terminate", &variables)
        .await;
    let job = api.ended(&id).await;
    assert_eq!(
        (job.status, failure_type(job.error.as_ref())),
        (JobStatus::Failed, Some(FailureType::Internal))
    );
    assert!(
        !bought(stack.provider.as_ref(), &id)[0]
            .status(Timestamp::now())
            .is_terminal(),
        "it is left running"
    );
    runbook
        .run_until(FIND_JOBS, "Terminated", &[], &id.to_string())
        .await;
}

async fn reset(runbook: &Runbook, api: &Api, stack: &Production) {
    let partial = api.run(&job(3, json!({"missing": [1]}))).await;
    let id = &partial.job_id;
    assert_eq!(partial.status, JobStatus::Partial);
    change_script(stack.provider.as_ref(), id, &json!({"missing": []}));
    let job_id = id.to_string();
    let variables = [("JOB", job_id.as_str())];
    let words = ["EVENT=", "workflow reset"];
    let outcome = runbook
        .try_run("Reset to before the persists", &words, &variables)
        .await;
    assert!(outcome.success, "{}", outcome.text);
    let job = until("another end", async || {
        let job = api.ended(id).await;
        (job.updated_at != partial.updated_at).then_some(job)
    })
    .await;
    assert_eq!(job.status, JobStatus::Completed);
    assert_eq!(count(&job, MediaStatus::Completed), 3);
    assert_eq!(
        bought(stack.provider.as_ref(), id).len(),
        1,
        "nothing is bought again"
    );
}

async fn pause(runbook: &Runbook, api: &Api, stack: &Production) {
    const PAUSE: &str = "Pause and unpause an activity";
    let id = api.accepted(&job(1, json!({"fail_fetches": 1000}))).await;
    api.until_stage(&id, Stage::Persisting).await;
    let described = runbook
        .run_until(
            LOOK_AT_A_JOB,
            "describe",
            &[("JOB", id.to_string().as_str())],
            "persist",
        )
        .await;
    let activity = described
        .lines()
        .find_map(|line| line.trim().strip_prefix("ActivityId"))
        .unwrap()
        .trim();
    let job_id = id.to_string();
    let variables = [("JOB", job_id.as_str()), ("ACTIVITY", activity)];
    runbook.run(PAUSE, "activity pause", &variables).await;
    runbook
        .run_until(LOOK_AT_A_JOB, "describe", &variables, "Paused")
        .await;
    runbook
        .run_until(PAUSE, "TemporalPauseInfo", &[], &id.to_string())
        .await;
    runbook.run(PAUSE, "activity unpause", &variables).await;
    until("an activity that resumes", async || {
        let described = runbook.run(LOOK_AT_A_JOB, "describe", &variables).await;
        (!described.contains("Paused")).then_some(())
    })
    .await;
    runbook.run(PAUSE, "activity reset", &variables).await;
    api.act(&id, "cancel").await;
    assert_eq!(api.ended(&id).await.status, JobStatus::Canceled);
    assert_eq!(bought(stack.provider.as_ref(), &id).len(), 1);
}

async fn retention(runbook: &Runbook) {
    runbook
        .run("Change the retention", "--retention 14d", &[])
        .await;
    runbook
        .run_until(
            "Change the retention",
            "namespace describe",
            &[],
            "336h0m0s",
        )
        .await;
}

async fn stuck_task(runbook: &Runbook, api: &Api, stack: &Production) {
    const STUCK: &str = "A stuck workflow task";
    runbook
        .run_until(STUCK, "TemporalReportedProblems", &[], "stuck")
        .await;
    let shown = runbook
        .run(
            STUCK,
            "workflow show -w \"$JOB\" -o json",
            &[("JOB", "stuck")],
        )
        .await;
    assert!(shown.contains("Workflow type Unknown not found"), "{shown}");
    runbook
        .run("Terminate", "workflow terminate", &[("JOB", "stuck")])
        .await;

    let id = generating(api, stack).await;
    let job_id = id.to_string();
    let variables = [("JOB", job_id.as_str())];
    let words = ["history fetch", "history replay"];
    let outcome = runbook.try_run(STUCK, &words, &variables).await;
    assert!(
        outcome.success && outcome.text.contains("replays"),
        "{}",
        outcome.text
    );
    let words = ["EVENT=", "workflow reset"];
    let outcome = runbook.try_run(STUCK, &words, &variables).await;
    assert!(outcome.success, "{}", outcome.text);
    api.until_stage(&id, Stage::Generating).await;
    api.act(&id, "cancel").await;
    assert_eq!(api.ended(&id).await.status, JobStatus::Canceled);
    assert_eq!(
        bought(stack.provider.as_ref(), &id).len(),
        1,
        "nothing is bought again"
    );
}

async fn provider_outage(runbook: &Runbook, api: &Api, stack: &Production) {
    let provider = stack.provider.as_ref().unwrap();
    provider.fail(Outage::new(500, 3600, None));
    let id = api.accepted(&job(2, json!({}))).await;
    runbook
        .run_until(
            "Provider outage",
            "describe",
            &[("JOB", id.to_string().as_str())],
            "ProviderUnavailable",
        )
        .await;
    runbook
        .run("The provider's limits", "config get", &[])
        .await;
    provider.fail(Outage::new(500, 0, None));
    let job = api.ended_within(&id, JOB_TIMEOUT).await;
    assert_eq!(job.status, JobStatus::Completed);
    assert_eq!(bought(stack.provider.as_ref(), &id).len(), 1);
}

async fn store_outage(runbook: &Runbook, api: &Api, stack: &mut Production) {
    let keyed = api
        .http
        .post(format!("{}/v1/jobs", api.url))
        .header("Idempotency-Key", "outage")
        .json(&job(1, json!({})));
    let id = stack
        .restart_store(async || {
            // Without an idempotency key, which cannot be looked up in the store.
            let id = job_in(api.post(&job(2, json!({}))).await).await.job_id;
            runbook
                .run_until(
                    "S3 outage",
                    "describe",
                    &[("JOB", id.to_string().as_str())],
                    "StorageUnavailable",
                )
                .await;
            assert_eq!(keyed.send().await.unwrap().status(), 503);
            id
        })
        .await
        .unwrap();
    let job = api.ended_within(&id, JOB_TIMEOUT).await;
    assert_eq!(count(&job, MediaStatus::Completed), 2, "{job:#?}");
}

async fn drain(runbook: &Runbook, stack: &Production) {
    let worker = &stack.workers[1];
    terminate(worker);
    until_exited(worker).await;
    let described = runbook.run("Drain a worker", "media-persist", &[]).await;
    assert!(
        described.contains(&format!("{}@", worker.id())),
        "it is remembered: {described}"
    );
}

async fn restore(runbook: &Runbook, api: &Api, stack: &mut Production) {
    const RESTORE: &str = "Back up and restore";
    // The same password again: another one would require a restart of Temporal.
    let password = stack.database_password().unwrap();
    runbook
        .run("Rotate keys", "ALTER ROLE", &[("NEW_PASSWORD", password)])
        .await;
    let ended = api.run(&job(2, json!({}))).await;
    let open = generating(api, stack).await;
    let ends_after = api.accepted(&job(2, json!({"latency_ms": 15_000}))).await;
    bought_one(stack.provider.as_ref(), &ends_after).await;
    for database in ["=temporal.dump", "=temporal_visibility.dump"] {
        runbook.run(RESTORE, database, &[]).await;
    }
    let before = api.ended(&ends_after).await;
    let not_in_dump = api.run(&job(2, json!({}))).await;
    let lost = generating(api, stack).await;

    stack
        .restart_on_database(async || {
            assert!(
                !runbook
                    .try_run("Temporal outage", &["cluster health"], &[])
                    .await
                    .success
            );
            for database in ["--if-exists temporal &&", "--if-exists temporal_visibility"] {
                runbook.run(RESTORE, database, &[]).await;
            }
        })
        .await
        .unwrap();
    let again = api.ended_within(&ends_after, JOB_TIMEOUT).await;
    assert_eq!(
        (again.status, count(&again, MediaStatus::Completed)),
        (JobStatus::Completed, 2),
        "{again:#?}"
    );
    for (after, before) in again.media.iter().zip(&before.media) {
        assert_eq!(after.sha256, before.sha256);
    }
    for job in [&ended, &not_in_dump] {
        let job = api.get(&job.job_id).await;
        assert_eq!(job.status, JobStatus::Completed);
    }
    let missing = api.get_path(&format!("/v1/jobs/{lost}")).await;
    assert_eq!(missing.status(), 404);
    api.act(&open, "cancel").await;
    let canceled = api.ended_within(&open, JOB_TIMEOUT).await;
    let outcome = cancel_outcome(&canceled);
    assert_eq!(outcome, Some(CancelOutcome::Canceled), "{canceled:#?}");
    for id in [&open, &ends_after] {
        assert_eq!(
            bought(stack.provider.as_ref(), id).len(),
            1,
            "nothing is bought again"
        );
    }
}

async fn upgrade(runbook: &Runbook, api: &Api, stack: &mut Production) {
    const DARKROOM: &str = "Darkroom";
    let build = |id: &str| {
        [
            ("WORKER_DEPLOYMENT", "darkroom".to_owned()),
            ("WORKER_BUILD_ID", id.to_owned()),
        ]
    };
    stack.add_worker(&build("one")).await.unwrap();
    until_within("a deployment", JOB_TIMEOUT, async || {
        let outcome = runbook
            .try_run(DARKROOM, &["deployment describe"], &[])
            .await;
        outcome.text.contains("one").then_some(())
    })
    .await;
    // Workers without a build get the work until a version is made current.
    runbook
        .run(DARKROOM, "set-current-version", &[("BUILD", "one")])
        .await;
    let job = job(2, json!({"latency_ms": 8000}));
    let moves = api.accepted(&job).await;
    bought_one(stack.provider.as_ref(), &moves).await;

    stack.add_worker(&build("two")).await.unwrap();
    runbook
        .run_until(DARKROOM, "deployment describe", &[], "two")
        .await;
    // Refused until the new build polls all task queues that the current one polls.
    until_within("a share for the new build", JOB_TIMEOUT, async || {
        let outcome = runbook
            .try_run(DARKROOM, &["set-ramping-version"], &[("BUILD", "two")])
            .await;
        assert!(
            outcome.success || outcome.text.contains("missing active task queues"),
            "{}",
            outcome.text
        );
        outcome.success.then_some(())
    })
    .await;
    runbook
        .run(DARKROOM, "set-current-version", &[("BUILD", "two")])
        .await;
    runbook
        .run_until(DARKROOM, "deployment list", &[], "darkroom")
        .await;
    let moved = api.ended_within(&moves, JOB_TIMEOUT).await;
    assert_eq!(moved.status, JobStatus::Completed);
    let job_id = moves.to_string();
    let variables = [("JOB", job_id.as_str())];
    let history = runbook.run(LOOK_AT_A_JOB, "show", &variables).await;
    assert!(history.contains("WorkflowExecutionCompleted"));
    let words = ["history fetch", "history replay"];
    let outcome = runbook.try_run(DARKROOM, &words, &variables).await;
    assert!(
        outcome.success && outcome.text.contains("replays"),
        "{}",
        outcome.text
    );
}
