//! Temporal actions of a job, which Temporal Cloud would bill, as the server itself counts them,
//! and the events of its history. Each kind of job runs on a stack of its own, at the same time.
//!
//! `cargo bench --bench actions`; it takes about six minutes, as one of the videos takes five.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]
#![expect(dead_code, reason = "shared with benchmarks that measure processes")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use darkroom_client::Client;
use darkroom_dev::Stack;
use darkroom_workflows::MediaGeneration;
use futures::{StreamExt, future::join_all, stream};
use reqwest::Client as Http;
use serde_json::json;
use temporalio_client::{WorkflowDescribeOptions, WorkflowGetResultOptions};

/// Kind of job.
struct Kind {
    name: &'static str,
    outputs: u32,
    generation: Duration,
    jobs: usize,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "1-5-seconds",
        outputs: 4,
        generation: Duration::from_millis(1500),
        jobs: 20,
    },
    Kind {
        name: "40-seconds",
        outputs: 4,
        generation: Duration::from_secs(40),
        jobs: 20,
    },
    Kind {
        name: "60-seconds",
        outputs: 4,
        generation: Duration::from_mins(1),
        jobs: 20,
    },
    Kind {
        name: "video-of-5-minutes",
        outputs: 1,
        generation: Duration::from_mins(5),
        jobs: 5,
    },
];

fn main() {
    let runtime = support::runtime();
    runtime.block_on(async {
        for line in join_all(KINDS.iter().map(measure)).await {
            println!("{line}");
        }
    });
}

/// Measures one kind of job. The jobs overlap, each beginning a second after the one before: one
/// after another, they would take hours.
async fn measure(kind: &Kind) -> String {
    const APART: Duration = Duration::from_secs(1);
    let stack = Stack::start(
        support::options(&format!("actions-{}", kind.name), &[]),
        |_| {},
    )
    .await
    .unwrap();
    let client = support::client(&stack.api_url(), None);
    let http = Http::builder().no_proxy().build().unwrap();
    let temporal = stack.temporal.client().await.unwrap();
    // The first job absorbs the cost of startup.
    one(&client, &temporal, 1, Duration::ZERO).await;
    let before = settled(&http, &stack.temporal.metrics).await;
    let mut events: Vec<i64> = stream::iter(0..kind.jobs)
        .map(|number| {
            let (client, temporal) = (&client, &temporal);
            async move {
                tokio::time::sleep(APART * u32::try_from(number).unwrap()).await;
                one(client, temporal, kind.outputs, kind.generation).await
            }
        })
        .buffer_unordered(kind.jobs)
        .collect()
        .await;
    let after = settled(&http, &stack.temporal.metrics).await;
    events.sort_unstable();
    let jobs = f64::from(u32::try_from(kind.jobs).unwrap());
    let mut by_type = Vec::new();
    let mut all = 0.0;
    for (action, count) in &after {
        let count = count - before.get(action).unwrap_or(&0.0);
        all += count;
        if count > 0.0 {
            by_type.push(format!("{action} {:.1}", count / jobs));
        }
    }
    format!(
        "{}: {:.1} actions a job ({}); {} events, {} at most",
        kind.name,
        all / jobs,
        by_type.join(", "),
        events[events.len() / 2],
        events[events.len() - 1],
    )
}

/// Runs a job and returns the number of events of its history.
async fn one(
    client: &Client,
    temporal: &temporalio_client::Client,
    outputs: u32,
    generation: Duration,
) -> i64 {
    let latency = u64::try_from(generation.as_millis()).unwrap();
    let dev = json!({"bytes": 65_536, "latency_ms": latency});
    let id = support::accept(client, outputs, dev).await;
    let handle = temporal.get_workflow_handle::<MediaGeneration>(id.to_string());
    handle
        .get_result(WorkflowGetResultOptions::default())
        .await
        .unwrap();
    let description = handle
        .describe(WorkflowDescribeOptions::default())
        .await
        .unwrap();
    assert!(description.raw().pending_activities.is_empty());
    description
        .raw()
        .workflow_execution_info
        .as_ref()
        .unwrap()
        .history_length
}

/// Returns the counts once they stop growing: the server publishes its metrics some seconds late.
async fn settled(http: &Http, metrics: &str) -> BTreeMap<String, f64> {
    const REST: Duration = Duration::from_secs(5);
    let mut last = actions(http, metrics).await;
    loop {
        tokio::time::sleep(REST).await;
        let now = actions(http, metrics).await;
        if now == last {
            return now;
        }
        last = now;
    }
}

/// Returns the number of actions of each type that the server has counted.
async fn actions(http: &Http, metrics: &str) -> BTreeMap<String, f64> {
    let text = http
        .get(metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let mut actions = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("action{")) {
        let (labels, count) = line.rsplit_once(' ').unwrap();
        let of_type = labels
            .split_once("action_type=\"")
            .and_then(|(_, rest)| rest.split_once('"'));
        if let Some((action, _)) = of_type {
            *actions.entry(action.to_owned()).or_default() += count.parse::<f64>().unwrap();
        }
    }
    actions
}
