//! Jobs per second and the latency of one job, beside the same workflow with empty activities,
//! which shows what Temporal itself takes. Figures of one run compare with each other, not with
//! those of another machine or hour.
//!
//! `cargo bench --bench throughput`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]
#![expect(
    dead_code,
    clippy::unused_async,
    reason = "the activity macro requires async methods and generates constants from them"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use darkroom_client::{Client, types::job_id::JobId};
use darkroom_dev::Stack;
use darkroom_workflows::{
    MediaGeneration, PERSIST_QUEUE, WORKFLOW_QUEUE,
    contract::{
        self,
        finalize::Finalized,
        generate::{GenerateInput, GenerateOutcome},
        persist::PersistInput,
    },
    job::{
        JobState, MadeOutput, MediaFacts, OutputSource, Prediction, PredictionRef,
        PredictionStatus, ProviderName, ProviderState, Sha256, StoredMedia, timestamp,
    },
    submissions_queue,
};
use futures::{StreamExt, future::join_all, stream};
use serde_json::json;
use temporalio_client::{WorkflowDescribeOptions, WorkflowGetResultOptions};
use temporalio_sdk::{
    Runtime, Worker, WorkerOptions,
    activities::{ActivityContext, ActivityError, activities},
    runtime::RuntimeOptions,
};

const JOBS: usize = 200;
const OUTPUTS: u32 = 4;
const BYTES: usize = 64 * 1024;
const ROUNDS: usize = 3;

/// Pause between two jobs, after which the stack is idle.
const IDLE: Duration = Duration::from_millis(500);

fn main() {
    support::runtime().block_on(run());
}

async fn run() {
    let mut stack = Stack::start(support::options("bench", &[]), |_| {})
        .await
        .unwrap();
    let mut bench = Bench {
        client: support::client(&stack.api_url(), None),
        temporal: stack.temporal.client().await.unwrap(),
        webhooks: 0,
    };
    bench.jobs(20, 8).await;

    let latency = bench.idle_latency().await;
    println!(
        "one job of 1 x 64 KiB, idle: {:.0} ms (median of 20, start to end of the workflow)",
        latency.as_secs_f64() * 1e3
    );
    let mut whole = Vec::new();
    let mut reported = Vec::new();
    let mut empty = Vec::new();
    for _ in 0..ROUNDS {
        whole.push(bench.jobs(JOBS, 32).await);
        bench.webhooks = 1;
        reported.push(bench.jobs(JOBS, 32).await);
        bench.webhooks = 0;
        stack.worker.kill();
        let canned = CannedWorker::start(&bench.temporal);
        bench.jobs(20, 8).await;
        empty.push(bench.jobs(JOBS, 32).await);
        canned.stop();
        stack.worker = stack.spawn("worker").unwrap();
        bench.jobs(20, 8).await;
    }
    let (whole, reported, empty) = (
        median(&mut whole),
        median(&mut reported),
        median(&mut empty),
    );
    println!("{JOBS} jobs x {OUTPUTS} x 64 KiB: {whole:.1} jobs/s (median of {ROUNDS})");
    println!("the same with a report of each end: {reported:.1} jobs/s");
    println!(
        "the same with empty activities: {empty:.1} jobs/s; ratio {:.2}",
        whole / empty
    );
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

struct Bench {
    client: Client,
    temporal: temporalio_client::Client,
    /// Number of reports of each prediction's end by the provider.
    webhooks: u32,
}

impl Bench {
    async fn accept(&self, outputs: u32) -> JobId {
        let dev = json!({"bytes": BYTES, "webhooks": self.webhooks});
        support::accept(&self.client, outputs, dev).await
    }

    async fn ended(&self, id: &JobId) {
        let handle = self
            .temporal
            .get_workflow_handle::<MediaGeneration>(id.to_string());
        handle
            .get_result(WorkflowGetResultOptions::default())
            .await
            .unwrap();
    }

    /// Returns jobs per second, from the first request to the last end.
    async fn jobs(&self, jobs: usize, callers: usize) -> f64 {
        let begin = Instant::now();
        let ids: Vec<JobId> = stream::iter(0..jobs)
            .map(|_| self.accept(OUTPUTS))
            .buffer_unordered(callers)
            .collect()
            .await;
        stream::iter(&ids)
            .for_each_concurrent(None, |id| self.ended(id))
            .await;
        f64::from(u32::try_from(jobs).unwrap()) / begin.elapsed().as_secs_f64()
    }

    async fn idle_latency(&self) -> Duration {
        let mut latencies = Vec::new();
        for _ in 0..20 {
            tokio::time::sleep(IDLE).await;
            let id = self.accept(1).await;
            self.ended(&id).await;
            let handle = self
                .temporal
                .get_workflow_handle::<MediaGeneration>(id.to_string());
            let description = handle
                .describe(WorkflowDescribeOptions::default())
                .await
                .unwrap();
            let took = description
                .close_time()
                .unwrap()
                .duration_since(description.start_time().unwrap())
                .unwrap();
            latencies.push(took);
        }
        latencies.sort();
        latencies[latencies.len() / 2]
    }
}

/// Activities that return at once.
struct Empty;

#[activities]
impl Empty {
    #[activity(definition = contract::Generate)]
    async fn generate(
        _ctx: ActivityContext,
        input: GenerateInput,
    ) -> Result<GenerateOutcome, ActivityError> {
        let output = MadeOutput {
            name: None,
            source: OutputSource::Prediction,
        };
        let outputs = vec![output; input.request.num_outputs.get().into()];
        let prediction = PredictionRef::new(ProviderName::Replicate, "none".parse().unwrap());
        let state = ProviderState::new(prediction, PredictionStatus::Succeeded);
        let prediction = Prediction::new(state, outputs, false);
        Ok(GenerateOutcome::Ended(prediction))
    }

    #[activity(definition = contract::Persist)]
    async fn persist(
        _ctx: ActivityContext,
        input: PersistInput,
    ) -> Result<StoredMedia, ActivityError> {
        let now = timestamp(SystemTime::now());
        Ok(StoredMedia {
            s3_key: input.job_id.media_key(input.index, "bin"),
            content_type: "application/octet-stream".to_owned(),
            size: 0,
            sha256: Sha256::from([0; 32]),
            facts: MediaFacts::default(),
            preview: None,
            attempts: 1,
            started_at: now,
            completed_at: now,
        })
    }

    #[activity(definition = contract::Finalize)]
    async fn finalize(_ctx: ActivityContext, job: JobState) -> Result<Finalized, ActivityError> {
        Ok(Finalized {
            completed_at: job.completed_at,
            adopted: None,
        })
    }
}

/// A worker of empty activities, on a thread of its own.
struct CannedWorker {
    stop: Box<dyn Fn()>,
    thread: std::thread::JoinHandle<()>,
}

impl CannedWorker {
    fn start(client: &temporalio_client::Client) -> Self {
        let client = client.clone();
        let (send, receive) = std::sync::mpsc::channel::<Box<dyn Fn() + Send>>();
        let thread = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            tokio.block_on(async {
                let runtime = Runtime::from_current_tokio(RuntimeOptions::default()).unwrap();
                let workflows = WorkerOptions::new(WORKFLOW_QUEUE)
                    .register_workflow::<MediaGeneration>()
                    .unwrap()
                    .register_activity::<empty::Finalize>(Arc::new(Empty));
                let submissions = WorkerOptions::new(submissions_queue(ProviderName::Replicate))
                    .register_activity::<empty::Generate>(Arc::new(Empty));
                let persist = WorkerOptions::new(PERSIST_QUEUE)
                    .register_activity::<empty::Persist>(Arc::new(Empty));
                let worker = |options: WorkerOptions| {
                    Worker::new(&runtime, client.clone(), options).unwrap()
                };
                let mut workers = [
                    worker(workflows.build()),
                    worker(submissions.build()),
                    worker(persist.build()),
                ];
                let stops: Vec<_> = workers.iter().map(Worker::shutdown_handle).collect();
                send.send(Box::new(move || stops.iter().for_each(|stop| stop())))
                    .unwrap();
                for ended in join_all(workers.iter_mut().map(Worker::run)).await {
                    ended.unwrap();
                }
            });
        });
        Self {
            stop: receive.recv().unwrap(),
            thread,
        }
    }

    fn stop(self) {
        (self.stop)();
        self.thread.join().unwrap();
    }
}
