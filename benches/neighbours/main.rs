//! Noisy neighbours, on the production stack with the default limits of a server: latency of one
//! tenant's creates alone, and while thirty others create a job per second each, one lists twenty
//! times a second, and the jobs of two more are followed, half of them by the feed and half by
//! `Prefer: wait`. Each result comes with the wait for workers and the load of the machine: on a
//! saturated machine, the latency measures that alone. Therefore the last measurement is repeated
//! without a worker, whose jobs cost Temporal and its database more than a small machine has: it
//! shows what the calls cost each other.
//!
//! `cargo bench --bench neighbours`; `DARKROOM_FOLLOWED` sets the number of jobs followed, 2,000 by
//! default.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]
#![expect(dead_code, reason = "shared with benchmarks that measure processes")]

mod machine;
#[path = "../support/mod.rs"]
mod support;

use std::{
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use darkroom_client::{
    Client,
    types::{
        job_id::JobId,
        request::CreateApiKey,
        status::{JobStatus, Stage},
    },
};
use darkroom_dev::{Options, production::Production};
use futures::{StreamExt, stream};
use reqwest::{Client as Http, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant as TokioInstant, interval, interval_at},
};

use self::machine::Machine;

const NEIGHBOURS: usize = 30;
const CREATES: usize = 300;
const CREATES_PER_SECOND: u32 = 5;
const LISTS_PER_SECOND: u32 = 20;

/// Reads of one job that are measured, and callers that read at a time.
const READS: usize = 5000;
const READERS: usize = 16;

/// Duration of predictions that must not end during the benchmark, in milliseconds.
const LONG: u64 = 3_600_000;

/// Variables of worker and api that differ from the defaults, and the rate limit of creates at
/// Replicate, which the provider of this stack does not have by default.
const VARIABLES: [(&str, &str); 3] = [
    ("RUST_LOG", "warn"),
    ("REPLICATE_CREATES_PER_MINUTE", "600"),
    ("DARKROOM_REQUESTS_PER_SECOND", "2000"),
];

fn main() {
    support::runtime().block_on(run());
}

async fn run() {
    let followed = std::env::var("DARKROOM_FOLLOWED").map_or(2000, |jobs| jobs.parse().unwrap());
    let readable = std::fs::Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new()
        .permissions(readable)
        .tempdir()
        .unwrap();
    let options = Options {
        directory: directory.path().to_owned(),
        ..support::options("bench-neighbours", &VARIABLES)
    };
    let ports = options.directory.join("ports");
    let stack = Production::start(options, 1, |_| {}).await.unwrap();
    let machine = Machine::of(&ports.join("worker-1-metrics"), stack.temporal.metrics);
    let operator = Tenant::with_key(&stack, &stack.api_key);
    let measured = operator.tenant(&stack, "measured").await;
    measured.creates(50).await;

    let alone = machine.during(measured.creates(CREATES)).await;
    println!("alone:            {alone}");
    let finished = measured.accepted(0).await;
    let ended = measured.client.wait(&finished).await.unwrap();
    assert_eq!(ended.status, JobStatus::Completed);
    println!("reads, finished:  {}", measured.reads(&finished).await);
    let running = measured.accepted(LONG).await;
    println!("reads, running:   {}", measured.reads(&running).await);
    let mut others = JoinSet::new();
    let fed = Arc::new(operator.tenant(&stack, "fed").await);
    let waiting = Arc::new(operator.tenant(&stack, "waiting").await);
    follow(&mut others, &fed, &waiting, followed / 2).await;
    let followers = machine.during(measured.creates(CREATES)).await;
    println!("beside followers: {followers}");
    for number in 0..NEIGHBOURS {
        let neighbour = operator
            .tenant(&stack, &format!("neighbour-{number}"))
            .await;
        others.spawn(async move {
            // Tenants know nothing of each other, and do not call at the same moment.
            let phase = Duration::from_secs_f64(fastrand::f64());
            let mut second = interval_at(TokioInstant::now() + phase, Duration::from_secs(1));
            loop {
                second.tick().await;
                neighbour.accepted(2000).await;
            }
        });
    }
    let lister = Arc::new(operator.tenant(&stack, "lister").await);
    others.spawn(async move {
        let mut turn = interval(Duration::from_secs(1) / LISTS_PER_SECOND);
        loop {
            turn.tick().await;
            let list = lister.http.get(format!("{}/v1/jobs", lister.api)).send();
            tokio::spawn(list);
        }
    });
    let beside = machine.during(measured.creates(CREATES)).await;
    println!("beside all:       {beside}");
    for worker in &stack.workers {
        worker.kill();
    }
    let without_workers = machine.during(measured.creates(CREATES)).await;
    println!("without workers:  {without_workers}");
    others.shutdown().await;
}

/// Follows the jobs of two tenants, which run for longer than the benchmark. Returns when all of
/// them are submitted to the provider: until then, the submissions take part of the machine.
async fn follow(others: &mut JoinSet<()>, fed: &Arc<Tenant>, waiting: &Arc<Tenant>, jobs: usize) {
    let mut last = Vec::new();
    for tenant in [fed, waiting] {
        let accepted = stream::iter(0..jobs).map(|_| tenant.accepted(LONG));
        let ids: Vec<_> = accepted.buffer_unordered(16).collect().await;
        last.extend(ids.last().map(|id| (tenant, *id)));
        if Arc::ptr_eq(tenant, fed) {
            let tenant = Arc::clone(tenant);
            others.spawn(async move {
                let events = tenant.http.get(format!("{}/v1/events", tenant.api)).send();
                let mut events = events.await.unwrap().bytes_stream();
                while events.next().await.is_some() {}
            });
            continue;
        }
        for id in ids {
            let tenant = Arc::clone(tenant);
            others.spawn(async move {
                let mut etag = String::new();
                loop {
                    let read = tenant.http.get(format!("{}/v1/jobs/{id}", tenant.api));
                    let read = read.header("Prefer", "wait=60");
                    let answer = read.header("If-None-Match", &etag).send().await.unwrap();
                    answer.headers()["etag"]
                        .to_str()
                        .unwrap()
                        .clone_into(&mut etag);
                }
            });
        }
    }
    for (tenant, id) in last {
        while tenant.client.get_job(&id).await.unwrap().stage != Some(Stage::Generating) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A tenant that calls the api: through the client, and with plain HTTP where HTTP is measured.
struct Tenant {
    api: String,
    client: Client,
    http: Http,
}

impl Tenant {
    fn with_key(stack: &Production, key: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
        let http = Http::builder().no_proxy().default_headers(headers);
        Self {
            api: stack.api_url(),
            client: support::client(&stack.api_url(), Some(key)),
            http: http.build().unwrap(),
        }
    }

    /// Creates another tenant, with a key of its own.
    async fn tenant(&self, stack: &Production, name: &str) -> Self {
        let key = json!({"name": name, "tenant": name});
        let key: CreateApiKey = serde_json::from_value(key).unwrap();
        let created = self.client.create_api_key(&key).await.unwrap();
        Self::with_key(stack, &created.key)
    }

    async fn accepted(&self, latency_ms: u64) -> JobId {
        support::accept(&self.client, 1, support::small(latency_ms)).await
    }

    /// Creates jobs at [`CREATES_PER_SECOND`], and returns quantiles of the latency.
    async fn creates(&self, count: usize) -> String {
        let mut turn = interval(Duration::from_secs(1) / CREATES_PER_SECOND);
        let mut took = Vec::new();
        for _ in 0..count {
            turn.tick().await;
            let began = Instant::now();
            self.accepted(2000).await;
            took.push(began.elapsed());
        }
        quantiles(took)
    }

    /// Reads a job [`READS`] times, and returns quantiles of the latency and the rate.
    async fn reads(&self, id: &JobId) -> String {
        let began = Instant::now();
        let reads = stream::iter(0..READS).map(async |_| {
            let began = Instant::now();
            self.read(id).await;
            began.elapsed()
        });
        let took: Vec<_> = reads.buffer_unordered(READERS).collect().await;
        #[expect(clippy::cast_precision_loss, reason = "a count far below 2^53")]
        let rate = READS as f64 / began.elapsed().as_secs_f64();
        format!("{}; {rate:.0} a second", quantiles(took))
    }

    async fn read(&self, id: &JobId) -> Value {
        let read = self.http.get(format!("{}/v1/jobs/{id}", self.api)).send();
        read.await.unwrap().json().await.unwrap()
    }
}

fn quantiles(mut took: Vec<Duration>) -> String {
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100];
    format!("p50 {:.1?}, p99 {:.1?}, of {}", at(50), at(99), took.len())
}
