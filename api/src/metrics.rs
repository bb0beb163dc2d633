//! What there is to count: requests, reads and how many of them were spared Temporal, jobs accepted, connections.

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
use temporalio_client::Client;
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
const LOOKED: &str = "darkroom_ready_check";
const STUCK: &str = "darkroom_stuck_workflows";
const WORKERS: &str = "darkroom_queue_workers";
const BACKLOG: &str = "darkroom_queue_backlog";

/// How often Temporal is asked how jobs and queues stand.
const INTERVAL: Duration = Duration::from_mins(1);

/// How often while there is no connection yet.
const RECONNECT: Duration = Duration::from_secs(1);

/// Says what is counted. To be called once metrics are installed.
pub(crate) fn describe() {
    describe_counter!(
        REQUESTS,
        "Requests that were answered, by method, route and status."
    );
    describe_histogram!(
        DURATION,
        "How long answers took, by method and route; those of streams, until they began."
    );
    describe_gauge!(CONNECTIONS, "Connections that are open.");
    describe_counter!(READS, "Reads of jobs.");
    describe_counter!(
        LOADS,
        "Reads of jobs for which Temporal or the store was asked; the others came from memory."
    );
    describe_counter!(ACCEPTED, "Jobs that were accepted.");
    describe_gauge!(FOLLOWERS, "Callers that wait for a job or follow one.");
    describe_gauge!(
        OPEN,
        "Jobs that have not ended, of all tenants; each api counts the same ones."
    );
    describe_gauge!(
        COUNT_AGE,
        Unit::Seconds,
        "How old the count of its tenant's open jobs was that the last create was judged by."
    );
    describe_gauge!(
        LOOKED,
        "1 if what is looked at for readiness is there, 0 if not, by check."
    );
    describe_gauge!(
        STUCK,
        "Workflows whose task fails again and again; each api counts the same ones."
    );
    describe_gauge!(
        WORKERS,
        "Workers that serve a queue; each api sees the same ones."
    );
    describe_gauge!(
        BACKLOG,
        "Activities on a queue that no worker has taken yet, about; each api sees the same ones."
    );
}

/// Asks now and then, until `shutdown`, how jobs, queues and what we stand on are.
pub(crate) async fn watch(context: Arc<Context>, shutdown: CancellationToken) {
    let looking = async {
        loop {
            context.readiness.read(&context).await;
            let pause = match context.temporal.client() {
                Ok(client) => {
                    look(client).await;
                    INTERVAL
                }
                // There will be one soon.
                Err(_) => RECONNECT,
            };
            tokio::time::sleep(pause).await;
        }
    };
    Box::pin(shutdown.run_until_cancelled(looking)).await;
}

/// What Temporal does not tell stays what it was.
#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 jobs")]
async fn look(client: &Client) {
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
        if let Ok(TaskQueue { pollers, backlog }) =
            task_queues::describe(client, name, Tasks::Activity).await
        {
            let workers = match &living {
                Some(living) => living.get(name).copied().unwrap_or_default(),
                None => u32::try_from(pollers.len()).unwrap_or(u32::MAX),
            };
            gauge!(WORKERS, "task_queue" => name).set(workers);
            gauge!(BACKLOG, "task_queue" => name).set(backlog as f64);
        }
    }
}

/// A request was answered. An unknown route or method is called `other`: whoever calls could make up any number of them.
pub(crate) fn answered(method: &'static str, route: String, status: u16, took: Duration) {
    counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status.to_string()).increment(1);
    histogram!(DURATION, "method" => method, "route" => route).record(took.as_secs_f64());
}

/// Something was looked at for readiness.
pub(crate) fn looked(check: &'static str, is_there: bool) {
    gauge!(LOOKED, "check" => check).set(f64::from(u8::from(is_there)));
}

/// A create was judged by a count of this age, or by none.
pub(crate) fn judged_by_count(age: Option<Duration>) {
    gauge!(COUNT_AGE).set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
}

/// A job was read.
pub(crate) fn read() {
    counter!(READS).increment(1);
}

/// Somebody was asked for a job.
pub(crate) fn loaded() {
    counter!(LOADS).increment(1);
}

/// A job was accepted.
pub(crate) fn accepted() {
    counter!(ACCEPTED).increment(1);
}

/// One more for as long as this is held.
pub(crate) struct Held(&'static str);

impl Held {
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

impl Drop for Held {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}
