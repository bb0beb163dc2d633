//! The HTTP facade under load, on the embedded stack: reads by `wrk` (install the Debian package of
//! this name), the latency of a create beside a bare start of a workflow, a thousand event streams,
//! and a healthy client among many slow clients. Figures of one run compare with each other, not
//! with those of another machine or hour.
//!
//! `cargo bench --bench http`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]

mod support;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use darkroom_client::{
    Client,
    types::{job_id::JobId, resource::Job, status::JobStatus},
};
use darkroom_dev::Stack;
use darkroom_workflows::{
    MediaGeneration, MediaGenerationInput, WORKFLOW_QUEUE, job::JobState, media_generation::Start,
};
use futures::{
    StreamExt,
    future::{join, join_all},
    stream,
};
use jiff::Timestamp;
use reqwest::Client as Http;
use serde_json::json;
use support::Usage;
use temporalio_client::WorkflowStartOptions;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_util::sync::CancellationToken;

/// Duration of a `wrk` run, in seconds.
const SECONDS: u64 = 10;

const CONNECTIONS: u32 = 16;

fn main() {
    support::runtime().block_on(run());
}

async fn run() {
    rlimit::increase_nofile_limit(8192).unwrap();
    let options = support::options("bench-http", &[("RUST_LOG", "warn")]);
    let directory = options.directory.clone();
    let mut stack = Stack::start(options, |_| {}).await.unwrap();
    let bench = Bench {
        api: stack.api_url(),
        client: support::client(&stack.api_url(), None),
        http: Http::builder().no_proxy().build().unwrap(),
        directory,
    };
    println!(
        "{:44} {:>9} {:>9} {:>26}",
        "", "reads/s", "p99 ms", "CPU s of api/worker/Temporal"
    );
    bench.finished(&stack).await;
    bench.running(&stack).await;
    bench.followers(&mut stack).await;
    bench.slow_clients().await;
    bench.creates(&mut stack).await;
}

/// A caller: through the client, and with plain HTTP where HTTP is measured.
struct Bench {
    api: String,
    client: Client,
    http: Http,
    directory: PathBuf,
}

impl Bench {
    async fn read(&self, id: &JobId) -> Job {
        let response = self
            .http
            .get(format!("{}/v1/jobs/{id}", self.api))
            .send()
            .await
            .unwrap();
        response.error_for_status().unwrap().json().await.unwrap()
    }

    /// Waits until a job has ended. Polls it rather than following it, so that the api caches the
    /// job as it does for readers.
    async fn ended(&self, id: &JobId) {
        while !self.client.get_job(id).await.unwrap().status.is_terminal() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn finished(&self, stack: &Stack) {
        let ids: Vec<JobId> = stream::iter(0..1000)
            .map(|_| async {
                let id = support::accept(&self.client, 1, support::small(0)).await;
                self.ended(&id).await;
                id
            })
            .buffer_unordered(32)
            .collect()
            .await;
        let url = format!("{}/v1/jobs/{}", self.api, ids[0]);
        self.wrk("one finished job", stack, &url, None).await;
        let script = self.directory.join("each.lua");
        let list: Vec<String> = ids.iter().map(|id| format!("\"/v1/jobs/{id}\"")).collect();
        let lua = format!(
            "local paths = {{{}}}\nlocal next = 0\nrequest = function()\n  next = next % #paths + 1\n  return wrk.format(\"GET\", paths[next])\nend\n",
            list.join(",")
        );
        std::fs::File::create(&script)
            .unwrap()
            .write_all(lua.as_bytes())
            .unwrap();
        self.wrk("1,000 finished jobs", stack, &self.api, Some(&script))
            .await;
    }

    /// Measures reads of one running job, and the delay until a reader sees a new state.
    async fn running(&self, stack: &Stack) {
        let id = support::accept(&self.client, 1, support::small(SECONDS * 500)).await;
        let url = format!("{}/v1/jobs/{id}", self.api);
        let lag = async {
            let (mut worst, mut known) = (0, None);
            loop {
                let job = self.read(&id).await;
                if known != Some(job.updated_at) {
                    known = Some(job.updated_at);
                    let behind = Timestamp::now().duration_since(job.updated_at);
                    worst = worst.max(behind.as_millis());
                }
                if job.status == JobStatus::Completed {
                    return worst;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let (worst, ()) = join(
            lag,
            self.wrk("one job that runs and ends", stack, &url, None),
        )
        .await;
        println!("  its states were seen {worst} ms after they came about, at most");
    }

    async fn wrk(&self, what: &str, stack: &Stack, url: &str, script: Option<&Path>) {
        let before = Cpu::of(stack);
        let mut command = tokio::process::Command::new("wrk");
        command.args([
            "-t2",
            &format!("-c{CONNECTIONS}"),
            &format!("-d{SECONDS}s"),
            "--latency",
        ]);
        if let Some(script) = script {
            command.arg("-s").arg(script);
        }
        let output = command.arg(url).stderr(Stdio::inherit()).output().await;
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        let figure = |name: &str| {
            said.lines()
                .find_map(|line| line.trim().strip_prefix(name))
                .map(|rest| rest.trim().to_owned())
                .unwrap()
        };
        assert!(!said.contains("Non-2xx"), "{said}");
        let cpu = Cpu::of(stack).since(&before);
        println!(
            "{what:44} {:>9} {:>9} {cpu:>26}",
            figure("Requests/sec:"),
            figure("99%")
        );
    }

    /// Measures the api's memory with a thousand event streams over a hundred jobs.
    async fn followers(&self, stack: &mut Stack) {
        // A new process, so that the caches of earlier reads do not count.
        stack.api.kill();
        stack.api = stack.spawn("api").unwrap();
        stack.until_ready().await.unwrap();
        let followers_are_done = CancellationToken::new();
        let id = stack.api.id();
        let before = Usage::of(id).memory;
        let ids: Vec<JobId> = stream::iter(0..100)
            .map(|_| support::accept(&self.client, 1, support::small(3000)))
            .buffered(32)
            .collect()
            .await;
        let followers = ids
            .iter()
            .flat_map(|id| std::iter::repeat_n(id, 10))
            .map(async |id| {
                let stream = self
                    .http
                    .get(format!("{}/v1/jobs/{id}/events", self.api))
                    .send()
                    .await
                    .unwrap();
                let text = stream.text().await.unwrap();
                assert!(text.contains("\"status\":\"completed\""), "{id}");
                text.matches("event: job").count()
            });
        let most = async {
            let mut most = before;
            loop {
                most = most.max(Usage::of(id).memory);
                tokio::time::sleep(Duration::from_millis(20)).await;
                if followers_are_done.is_cancelled() {
                    return most;
                }
            }
        };
        let all = async {
            let events: usize = join_all(followers).await.into_iter().sum();
            followers_are_done.cancel();
            events
        };
        let (most, events) = join(most, all).await;
        println!(
            "1,000 streams over 100 jobs: {events} events, the api's memory {before:.0} MiB before and {most:.0} MiB at most"
        );
    }

    /// Measures the latency of a healthy client among 600 slow clients: 500 that send half a
    /// request head, and 100 that do not read their responses.
    async fn slow_clients(&self) {
        let address = self.api.strip_prefix("http://").unwrap();
        let slow_clients = (0..600).map(async |number| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let docs = "GET /docs HTTP/1.1\r\nHost: a\r\n\r\n";
            let said = if number < 500 {
                "GET /healthz HT".to_owned()
            } else {
                docs.repeat(4)
            };
            stream.write_all(said.as_bytes()).await.unwrap();
            stream
        });
        let slow_clients = join_all(slow_clients).await;
        let mut waits = Vec::new();
        for _ in 0..1000 {
            let began = Instant::now();
            let answer = self
                .http
                .get(format!("{}/healthz", self.api))
                .send()
                .await
                .unwrap();
            answer.error_for_status().unwrap();
            waits.push(began.elapsed());
        }
        drop(slow_clients);
        waits.sort();
        println!(
            "health among 600 slow clients: p50 {:.2?}, p99 {:.2?}",
            waits[500], waits[990]
        );
    }

    /// Measures the latency of a create beside a bare start of the workflow, alternately. No worker
    /// runs meanwhile.
    async fn creates(&self, stack: &mut Stack) {
        stack.worker.kill();
        let temporal = stack.temporal.client().await.unwrap();
        let (mut created, mut started) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            let began = Instant::now();
            support::accept(&self.client, 1, support::small(0)).await;
            created.push(began.elapsed());

            let job_id = uuid::Uuid::now_v7().to_string().parse().unwrap();
            let request =
                serde_json::from_value(json!({"model": "acme/photo", "prompt": "a fox"})).unwrap();
            let input = MediaGenerationInput {
                job: JobState::new(job_id, None, request, Timestamp::now()),
                start: Start::New,
                expects_reports: true,
            };
            let options =
                WorkflowStartOptions::new(WORKFLOW_QUEUE, input.job.job_id.to_string()).build();
            let began = Instant::now();
            temporal
                .start_workflow(MediaGeneration::run, input, options)
                .await
                .unwrap();
            started.push(began.elapsed());
        }
        created.sort();
        started.sort();
        println!(
            "create p50 {:.2?}, p99 {:.2?}; bare start p50 {:.2?}, p99 {:.2?}",
            created[200], created[396], started[200], started[396]
        );
    }
}

/// CPU time of the processes, in seconds.
struct Cpu {
    api: f64,
    worker: f64,
    temporal: f64,
}

impl Cpu {
    fn of(stack: &Stack) -> Self {
        let cpu = |id| Usage::of(id).cpu;
        Self {
            api: cpu(stack.api.id()),
            worker: cpu(stack.worker.id()),
            temporal: cpu(stack.temporal.id()),
        }
    }

    fn since(&self, before: &Self) -> String {
        let Self {
            api,
            worker,
            temporal,
        } = before;
        format!(
            "{:.1} / {:.1} / {:.1}",
            self.api - api,
            self.worker - worker,
            self.temporal - temporal
        )
    }
}
