//! A long run under steady load: prints the memory of worker and api each minute, and fails if it
//! grows. Takes 20 minutes, or `DARKROOM_SOAK_MINUTES`.
//!
//! `cargo bench --bench soak`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]
#![expect(dead_code, reason = "shared with benchmarks that use one model")]

mod support;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use darkroom_client::{Client, types::problem::Kind};
use darkroom_dev::Stack;
use futures::future::{join_all, select};
use reqwest::Method;
use serde_json::json;
use support::Usage;

/// Number of callers, each with one job at a time.
const CALLERS: u64 = 12;

/// Tolerance of memory, in MiB: the allocator keeps some, and jobs are under way.
const NOISE: f64 = 3.0;

fn main() -> ExitCode {
    support::runtime().block_on(run())
}

async fn run() -> ExitCode {
    let minutes: usize =
        std::env::var("DARKROOM_SOAK_MINUTES").map_or(20, |minutes| minutes.parse().unwrap());
    assert!(
        minutes >= 4,
        "DARKROOM_SOAK_MINUTES: a curve needs 4 minutes at least"
    );
    let recycle_after = std::env::var("WORKER_RECYCLE_AFTER");
    let mut variables = vec![
        ("RUST_LOG", "warn"),
        ("DARKROOM_REQUESTS_PER_SECOND", "100000"),
    ];
    variables.extend(
        recycle_after
            .as_deref()
            .ok()
            .map(|after| ("WORKER_RECYCLE_AFTER", after)),
    );
    let stack = Stack::start(support::options("bench-soak", &variables), |_| {})
        .await
        .unwrap();
    let client = support::client(&stack.api_url(), None);
    let done = AtomicU64::new(0);
    let load = join_all((0..CALLERS).map(|number| call(&client, number, &done)));
    println!(
        "{:>6} {:>8} {:>11} {:>8}",
        "minute", "jobs", "worker MiB", "api MiB"
    );
    let mut curves = [Vec::new(), Vec::new()];
    let watch = async {
        for minute in 1..=minutes {
            tokio::time::sleep(Duration::from_mins(1)).await;
            let (worker, api) = (
                Usage::of(stack.worker.id()).memory,
                Usage::of(stack.api.id()).memory,
            );
            println!(
                "{minute:6} {:8} {worker:11.1} {api:8.1}",
                done.load(Ordering::Relaxed)
            );
            curves[0].push(worker);
            curves[1].push(api);
        }
    };
    select(Box::pin(watch), Box::pin(load)).await;

    // The first half is ignored: it fills bounded caches, and the memory that the SDK's worker
    // leaks until it is recycled.
    let mut flat = true;
    for (name, curve) in ["worker", "api"].into_iter().zip(&curves) {
        let (third, last) = (
            mean(&curve[minutes / 2..minutes * 3 / 4]),
            mean(&curve[minutes * 3 / 4..]),
        );
        println!("{name}: {third:.1} MiB in the third quarter, {last:.1} MiB in the last");
        flat &= last <= third * 1.1 + NOISE;
    }
    if flat {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / f64::from(u32::try_from(figures.len().max(1)).unwrap())
}

/// Runs jobs one after another. Most complete, some end otherwise, and some are canceled.
async fn call(client: &Client, number: u64, done: &AtomicU64) {
    for round in number.. {
        let dev = match round % 20 {
            3 => json!({"bytes": 65536, "missing": [1]}),
            7 => json!({"bytes": 65536, "fail": "no"}),
            11 => json!({"bytes": 65536, "latency_ms": 2000}),
            _ => json!({"bytes": 65536}),
        };
        let request = json!({"model": format!("acme/photo-{}", round % 300), "prompt": "a fox", "num_outputs": 4, "input": {"dev": dev}});
        let mut job = support::create(client, &request).await;
        // The job may have ended before the cancel call.
        if round % 20 == 11
            && let Err(error) = client.cancel_job(&job.job_id).await
        {
            assert_eq!(error.kind(), Some(Kind::AlreadyEnded), "{error}");
        }
        while job.completed_at.is_none() {
            let url = client.url_of(&["v1", "jobs", &job.job_id.to_string()]);
            let read = client.request(Method::GET, url).header("Prefer", "wait=10");
            let answer = read.send().await.unwrap().error_for_status().unwrap();
            job = answer.json().await.unwrap();
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}
