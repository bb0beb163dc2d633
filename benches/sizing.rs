//! CPU time and memory of each component, on the embedded stack and on the production stack, with
//! one worker and with three, and the jobs per second. Everything runs on one machine, so figures
//! compare with each other only.
//!
//! `cargo bench --bench sizing`; `DARKROOM_BINARY` measures another build of the program, with the
//! feature `dev`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]
#![expect(dead_code, reason = "shared with benchmarks that use small files")]

mod support;

use std::{os::unix::fs::PermissionsExt, time::Instant};

use darkroom_client::Client;
use darkroom_dev::{Options, Stack, process::Process, production::Production};
use darkroom_workflows::MediaGeneration;
use futures::{StreamExt, stream};
use serde_json::json;
use support::Usage;
use temporalio_client::WorkflowGetResultOptions;

const JOBS: u32 = 300;
const CALLERS: usize = 32;

/// Variables of worker and api.
const VARIABLES: [(&str, &str); 2] = [
    ("RUST_LOG", "warn"),
    ("DARKROOM_REQUESTS_PER_SECOND", "100000"),
];

fn main() {
    support::runtime().block_on(run());
}

async fn run() {
    println!(
        "{JOBS} jobs x 4 x 64 KiB, {CALLERS} callers; CPU in ms a job, memory in MiB of their own"
    );
    println!("{:24} {:>7}   components", "", "jobs/s");
    for workers in [1, 3] {
        embedded(workers).await;
    }
    for workers in [1, 3] {
        production(workers).await;
    }
}

async fn embedded(workers: usize) {
    let stack = Stack::start(support::options("bench-sizing", &VARIABLES), |_| {})
        .await
        .unwrap();
    let others: Vec<_> = (1..workers)
        .map(|_| stack.spawn("worker").unwrap())
        .collect();
    let mut components = vec![
        ("Temporal", vec![stack.temporal.id()]),
        ("api", vec![stack.api.id()]),
    ];
    components.push((
        "workers",
        [&stack.worker]
            .into_iter()
            .chain(&others)
            .map(Process::id)
            .collect(),
    ));
    let client = support::client(&stack.api_url(), None);
    let load = Load {
        client,
        temporal: stack.temporal.client().await.unwrap(),
    };
    load.measure(&format!("embedded, {workers} worker(s)"), &components)
        .await;
}

async fn production(workers: usize) {
    let readable = std::fs::Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new()
        .permissions(readable)
        .tempdir()
        .unwrap();
    let options = Options {
        directory: directory.path().to_owned(),
        ..support::options("bench-sizing", &VARIABLES)
    };
    let stack = Production::start(options, workers, |_| {}).await.unwrap();
    let components = vec![
        ("PostgreSQL", vec![stack.postgres.id()]),
        ("Temporal", vec![stack.temporal.id()]),
        ("S3", vec![stack.s3.id()]),
        ("api", vec![stack.api.id()]),
        ("workers", stack.workers.iter().map(Process::id).collect()),
    ];
    let client = support::client(&stack.api_url(), Some(&stack.api_key));
    let load = Load {
        client,
        temporal: stack.temporal.client().await.unwrap(),
    };
    load.measure(&format!("PostgreSQL, {workers} worker(s)"), &components)
        .await;
}

fn sum(ids: &[u32]) -> Usage {
    ids.iter()
        .map(|id| Usage::of(*id))
        .fold(Usage::default(), |sum, one| Usage {
            cpu: sum.cpu + one.cpu,
            memory: sum.memory + one.memory,
        })
}

struct Load {
    client: Client,
    temporal: temporalio_client::Client,
}

impl Load {
    async fn measure(&self, name: &str, components: &[(&str, Vec<u32>)]) {
        self.jobs(40).await;
        let usage = || -> Vec<Usage> { components.iter().map(|(_, ids)| sum(ids)).collect() };
        let before = usage();
        let began = Instant::now();
        self.jobs(JOBS).await;
        let rate = f64::from(JOBS) / began.elapsed().as_secs_f64();
        let after = usage();
        let figures: Vec<_> = components
            .iter()
            .zip(before.iter().zip(&after))
            .map(|((component, _), (before, after))| {
                let cpu = (after.cpu - before.cpu) * 1e3 / f64::from(JOBS);
                format!("{component} {cpu:.1} ms {:.0} MiB", after.memory)
            })
            .collect();
        println!("{name:24} {rate:7.1}   {}", figures.join(", "));
    }

    async fn jobs(&self, count: u32) {
        stream::iter(0..count)
            .for_each_concurrent(CALLERS, async |_| {
                let dev = json!({"bytes": 65536, "webhooks": 0});
                let id = support::accept(&self.client, 4, dev).await;
                let handle = self
                    .temporal
                    .get_workflow_handle::<MediaGeneration>(id.to_string());
                handle
                    .get_result(WorkflowGetResultOptions::default())
                    .await
                    .unwrap();
            })
            .await;
    }
}
