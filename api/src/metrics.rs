//! Metrics of requests, job reads and the share of them that the cache served, accepted jobs,
//! connections, followers and task queues.

use std::{sync::Arc, time::Duration};

use darkroom_temporal::{
    task_queues::{self, TaskQueue, Tasks},
    workers,
};
use darkroom_workflows::{
    PERSIST_QUEUE, WEBHOOK_QUEUE, WORKFLOW_QUEUE, job::ProviderName, reads_queue, submissions_queue,
};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use temporalio_client::{Client, tonic::Status};
use tokio_util::sync::CancellationToken;

use crate::{context::Context, visibility};

const REQUESTS: &str = "darkroom_http_requests_total";
const DURATION: &str = "darkroom_http_request_duration_seconds";
const CONNECTIONS: &str = "darkroom_http_connections";
const READS: &str = "darkroom_job_reads_total";
const LOADS: &str = "darkroom_job_loads_total";
const ACCEPTED: &str = "darkroom_jobs_accepted_total";
const FOLLOWERS: &str = "darkroom_job_followers";
const OPEN: &str = "darkroom_open_jobs";
const COUNT_AGE: &str = "darkroom_open_jobs_count_age_seconds";
const READY_CHECK: &str = "darkroom_ready_check";
const STUCK: &str = "darkroom_stuck_workflows";
const WORKERS: &str = "darkroom_queue_workers";
const BACKLOG: &str = "darkroom_queue_backlog";

/// Interval between two measurements of jobs and queues in Temporal.
const INTERVAL: Duration = Duration::from_mins(1);

/// Interval while there is no connection to Temporal yet.
const RECONNECT: Duration = Duration::from_secs(1);

/// Describes the metrics. To be called once the recorder is installed.
pub(crate) fn describe() {
    describe_counter!(
        REQUESTS,
        "Requests that were answered, by method, route and status."
    );
    describe_histogram!(
        DURATION,
        "Time until a response, by method and route; for streams, until they began."
    );
    describe_gauge!(CONNECTIONS, "Connections that are open.");
    describe_counter!(READS, "Reads of jobs.");
    describe_counter!(
        LOADS,
        "Reads of jobs that reached Temporal or the store; the others were served from the cache."
    );
    describe_counter!(ACCEPTED, "Jobs that were accepted.");
    describe_gauge!(FOLLOWERS, "Callers that wait for a job or follow one.");
    describe_gauge!(
        OPEN,
        "Jobs that have not ended, of all tenants; every api process reports the same number."
    );
    describe_gauge!(
        COUNT_AGE,
        Unit::Seconds,
        "Age of the count of a tenant's open jobs that the last create was checked against."
    );
    describe_gauge!(
        READY_CHECK,
        "1 if a check of readiness passed, 0 if it failed, by check."
    );
    describe_gauge!(
        STUCK,
        "Workflows whose workflow task keeps failing; every api process reports the same number."
    );
    describe_gauge!(
        WORKERS,
        "Workers that poll a task queue; every api process reports the same number."
    );
    describe_gauge!(
        BACKLOG,
        "Approximate number of tasks that wait on a task queue; every api process reports the same number."
    );
}

/// Measures readiness, jobs and queues at an interval, until `shutdown`.
pub(crate) async fn watch(context: Arc<Context>, shutdown: CancellationToken) {
    let looking = async {
        loop {
            context.readiness.read(&context).await;
            let pause = match context.temporal.client() {
                Ok(client) => {
                    measure(client).await;
                    INTERVAL
                }
                // Temporal is being connected to in the background.
                Err(_) => RECONNECT,
            };
            tokio::time::sleep(pause).await;
        }
    };
    Box::pin(shutdown.run_until_cancelled(looking)).await;
}

/// Measures jobs and queues. If Temporal does not answer, a gauge keeps its value.
#[expect(clippy::cast_precision_loss, reason = "there are not 2^53 jobs")]
async fn measure(client: &Client) {
    if let Ok(open) = visibility::count_all_open(client).await {
        gauge!(OPEN).set(open as f64);
    }
    if let Ok(stuck) = visibility::count_stuck(client).await {
        gauge!(STUCK).set(stuck as f64);
    }
    let living = workers::living(client).await.ok().flatten();
    let provider = ProviderName::Replicate;
    for name in [
        WORKFLOW_QUEUE,
        WEBHOOK_QUEUE,
        submissions_queue(provider),
        reads_queue(provider),
        PERSIST_QUEUE,
    ] {
        if let Ok(TaskQueue { pollers, backlog }) = describe_queue(client, name).await {
            let workers = match &living {
                Some(living) => living.get(name).copied().unwrap_or_default(),
                None => u32::try_from(pollers.len()).unwrap_or(u32::MAX),
            };
            gauge!(WORKERS, "task_queue" => name).set(workers);
            gauge!(BACKLOG, "task_queue" => name).set(backlog as f64);
        }
    }
}

/// Describes a task queue: those who poll its activities, and all tasks that wait there.
async fn describe_queue(client: &Client, name: &str) -> Result<TaskQueue, Status> {
    let activities = task_queues::describe(client, name, Tasks::Activity).await?;
    if name != WORKFLOW_QUEUE {
        return Ok(activities);
    }
    let workflows = task_queues::describe(client, name, Tasks::Workflow).await?;
    Ok(TaskQueue {
        backlog: activities.backlog + workflows.backlog,
        ..activities
    })
}

/// Records a response. Unknown routes and methods are called `other`, as clients can send any
/// number of them.
pub(crate) fn answered(method: &'static str, route: String, status: u16, took: Duration) {
    counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status.to_string()).increment(1);
    histogram!(DURATION, "method" => method, "route" => route).record(took.as_secs_f64());
}

/// Records the result of a check of readiness.
pub(crate) fn readiness_checked(check: &'static str, is_there: bool) {
    gauge!(READY_CHECK, "check" => check).set(f64::from(u8::from(is_there)));
}

/// Records the age of the count that a create was checked against; infinite without a count.
pub(crate) fn count_age(age: Option<Duration>) {
    gauge!(COUNT_AGE).set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
}

/// Records a read of a job.
pub(crate) fn read() {
    counter!(READS).increment(1);
}

/// Records a read of a job that reached Temporal or the store.
pub(crate) fn loaded() {
    counter!(LOADS).increment(1);
}

/// Records an accepted job.
pub(crate) fn accepted() {
    counter!(ACCEPTED).increment(1);
}

/// Guard of a gauge, which is one higher for as long as this is held.
pub(crate) struct GaugeGuard(&'static str);

impl GaugeGuard {
    pub(crate) fn connection() -> Self {
        Self::new(CONNECTIONS)
    }

    pub(crate) fn follower() -> Self {
        Self::new(FOLLOWERS)
    }

    fn new(name: &'static str) -> Self {
        gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}
