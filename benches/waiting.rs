//! Jobs that wait at the provider: memory and CPU time of the worker and of Temporal while they
//! wait, a worker that is killed and replaced meanwhile, and the time to collect all results under
//! the provider's rate limit of reads when all predictions end at once.
//!
//! `cargo bench --bench waiting`; `DARKROOM_WAITING` sets the number of jobs, `DARKROOM_READS` the
//! reads per minute that the provider allows.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]

mod support;

use std::time::{Duration, Instant};

use darkroom_client::types::job_id::JobId;
use darkroom_dev::{Stack, provider::limits::Limits};
use darkroom_workflows::MediaGeneration;
use futures::{StreamExt, stream};
use support::Usage;
use temporalio_client::WorkflowGetResultOptions;

const JOBS: usize = 1000;
const CALLERS: usize = 32;

/// Workflow results that are awaited at a time: Temporal serves no more long polls at once.
const CONCURRENT_WAITS: usize = 500;

/// Duration of the measurement while the jobs wait.
const MEASURED_TIME: Duration = Duration::from_secs(30);

/// Pause before a measurement: a short prediction would have ended by then.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Reads per minute that the provider allows, as Replicate does.
const READS: u32 = 3000;

fn main() {
    support::runtime().block_on(run());
}

async fn run() {
    let jobs = std::env::var("DARKROOM_WAITING").map_or(JOBS, |jobs| jobs.parse().unwrap());
    let reads = std::env::var("DARKROOM_READS").map_or(READS, |reads| reads.parse().unwrap());
    let variables = [
        ("RUST_LOG", "warn"),
        ("DARKROOM_REQUESTS_PER_SECOND", "100000"),
        ("REPLICATE_READS_PER_MINUTE", &reads.to_string()),
    ];
    let mut stack = Stack::start(support::options("bench-waiting", &variables), |_| {})
        .await
        .unwrap();
    let client = support::client(&stack.api_url(), None);
    tokio::time::sleep(SETTLE_TIME).await;
    let idle = Usage::of(stack.worker.id());

    let began = Instant::now();
    let dev = support::small(3_600_000);
    let ids: Vec<JobId> = stream::iter(0..jobs)
        .map(|_| support::accept(&client, 1, dev.clone()))
        .buffer_unordered(CALLERS)
        .collect()
        .await;
    let provider = stack.provider.as_ref().unwrap();
    while provider.predictions().len() < jobs {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(SETTLE_TIME).await;
    println!("{jobs} jobs submitted in {:.0?}", began.elapsed());

    let before = (Usage::of(stack.worker.id()), Usage::of(stack.temporal.id()));
    tokio::time::sleep(MEASURED_TIME).await;
    let after = (Usage::of(stack.worker.id()), Usage::of(stack.temporal.id()));
    let share =
        |before: Usage, after: Usage| (after.cpu - before.cpu) / MEASURED_TIME.as_secs_f64();
    println!(
        "while they wait: the worker {:.0} MiB above idle, {:.1} % of a core; Temporal {:.1} %",
        after.0.memory - idle.memory,
        100.0 * share(before.0, after.0),
        100.0 * share(before.1, after.1),
    );

    stack.worker.kill();
    stack.worker = stack.spawn("worker").unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    let replaced = Usage::of(stack.worker.id());
    println!(
        "the worker that replaced it: {:.0} MiB above idle",
        replaced.memory - idle.memory
    );

    let provider = stack.provider.as_ref().unwrap();
    provider.limit(Limits {
        reads_per_minute: Some(reads),
        ..Limits::default()
    });
    let ended = Instant::now();
    provider.finish();
    let temporal = stack.temporal.client().await.unwrap();
    let waiting = stream::iter(&ids).for_each_concurrent(CONCURRENT_WAITS, async |id| {
        let handle = temporal.get_workflow_handle::<MediaGeneration>(id.to_string());
        let job = handle
            .get_result(WorkflowGetResultOptions::default())
            .await
            .unwrap();
        assert!(job.error.is_none(), "{:?}", job.error);
    });
    let ends = u32::try_from(jobs).unwrap();
    let collected = async {
        while provider.calls().reads < ends {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ended.elapsed().as_secs_f64()
    };
    let (collected, ()) = futures::join!(collected, waiting);
    let stored = ended.elapsed().as_secs_f64();
    let allowed = f64::from(ends) / (f64::from(reads) / 60.0);
    println!(
        "all ended at once: collected in {collected:.0} s, {:.2} of what the limit of reads allows; stored in {stored:.0} s, {:.2}; {:?}",
        collected / allowed,
        stored / allowed,
        provider.calls()
    );
}
