//! Throughput, CPU time and memory of moving outputs from a source to a store, both on this
//! machine: the engine of `persist`, beside the same requests fed straight from the source (a raw
//! pipe), and beside a plain program (8 MiB parts one after another, the SDK's defaults, and a
//! SHA-256). Each runs in a process of its own, alternately. Figures of one run compare with each
//! other, not with those of another machine.
//!
//! `cargo bench --bench persist`, or a part of it: `cargo bench --bench persist -- speed` or
//! `memory`

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]

#[expect(dead_code, reason = "tests ask it for more")]
#[path = "../tests/it/support/source.rs"]
mod source;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use aws_sdk_s3::{
    Client as S3,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        StalledStreamProtectionConfig, retry::RetryConfig,
    },
    primitives::{ByteStream, SdkBody},
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use darkroom_activities::{
    guard::{Guard, Ports, Resolver},
    persist::{
        Engine, Memory, Previewer, Sources,
        budget_lease::BudgetLease,
        engine::{BUFFER, Destination},
        source::Limits,
    },
};
use darkroom_dev::{Options, ProviderChoice, s3, versitygw::VersityGateway};
use darkroom_storage::{Existing, Storage};
use darkroom_workflows::job::JobId;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::source::SourceServer;

const MIB: u64 = 1024 * 1024;
const ROUNDS: usize = 3;
const STREAM_MAX: u64 = 256 * MIB;
const STREAMED_PART: u64 = 64 * MIB;

/// Loads of the comparison: number, size and concurrency of outputs.
const LOADS: [Load; 3] = [
    Load {
        count: 40,
        bytes: 16 * MIB,
        concurrency: 32,
    },
    Load {
        count: 4,
        bytes: 1024 * MIB,
        concurrency: 32,
    },
    Load {
        count: 2000,
        bytes: 64 * 1024,
        concurrency: 32,
    },
];

/// Loads that show the memory of many outputs at a time, for the engine alone.
const CROWDS: [Load; 2] = [
    Load {
        count: 16,
        bytes: 2048 * MIB,
        concurrency: 16,
    },
    Load {
        count: 2000,
        bytes: 64 * 1024,
        concurrency: 1000,
    },
];

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Load {
    count: u64,
    bytes: u64,
    concurrency: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
enum Mover {
    Engine,
    /// The engine, with sources that send no `Content-Length`.
    EngineUnsized,
    /// The same requests with the SDK's checksums, fed straight from the source.
    Raw,
    /// The same requests without any checksum.
    Bare,
    /// Parts of 8 MiB, one after another, by the SDK's defaults, and a SHA-256 of all bytes.
    Plain,
}

/// Input of a process.
#[derive(Debug, Deserialize, Serialize)]
struct Task {
    mover: Mover,
    load: Load,
    source: String,
    round: String,
}

/// Output of a process.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Figures {
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
}

const TASK: &str = "PERSIST_BENCHMARK_TASK";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    match std::env::var(TASK) {
        Ok(task) => runtime.block_on(work(serde_json::from_str(&task).unwrap())),
        Err(_) => runtime.block_on(compare()),
    }
}

async fn compare() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-persist");
    if directory.exists() {
        std::fs::remove_dir_all(&directory).unwrap();
    }
    std::fs::create_dir_all(&directory).unwrap();
    let options = Options {
        directory: directory.clone(),
        binary: PathBuf::from(env!("CARGO_BIN_EXE_darkroom")),
        usual_ports: false,
        temporal_ui: false,
        provider: ProviderChoice::Replicate,
        variables: Vec::new(),
    };
    let gateway = VersityGateway::start(&options, &|line: &str| println!("{line}"))
        .await
        .unwrap();
    let source = SourceServer::start().await.unwrap();
    let bucket = directory.join("versitygw").join(s3::BUCKET);
    let run = async |mover, load: Load, round: usize| {
        let task = Task {
            mover,
            load,
            source: source.url("", ""),
            round: format!("{mover:?}-{round}"),
        };
        let figures = spawn(&gateway.endpoint, &task).await;
        std::fs::remove_dir_all(&bucket).unwrap();
        std::fs::create_dir_all(&bucket).unwrap();
        figures
    };

    let only = std::env::args()
        .nth(1)
        .filter(|argument| !argument.starts_with("--"));
    let wants = |part: &str| only.as_ref().is_none_or(|only| only == part);
    println!(
        "{:26} {:14} {:>8} {:>10} {:>9} {:>7}",
        "", "", "MiB/s", "CPU s/GiB", "peak MiB", "ratio"
    );
    for load in LOADS.into_iter().filter(|_| wants("speed")) {
        let mut figures = BTreeMap::<Mover, Vec<Figures>>::new();
        for round in 0..ROUNDS {
            for mover in [Mover::Raw, Mover::Bare, Mover::Engine, Mover::Plain] {
                figures
                    .entry(mover)
                    .or_default()
                    .push(run(mover, load, round).await);
            }
        }
        let mut speeds = BTreeMap::new();
        for mover in [Mover::Raw, Mover::Bare, Mover::Engine, Mover::Plain] {
            let figures = median(&figures[&mover]);
            speeds.insert(mover, load.mib() / figures.seconds);
            print(mover, load, figures, speeds[&Mover::Raw]);
        }
    }
    if !wants("memory") {
        return;
    }
    for load in CROWDS {
        print(
            Mover::Engine,
            load,
            run(Mover::Engine, load, 0).await,
            f64::NAN,
        );
    }
    let load = Load {
        count: 64,
        bytes: 128 * MIB,
        concurrency: 64,
    };
    print(
        Mover::EngineUnsized,
        load,
        run(Mover::EngineUnsized, load, 0).await,
        f64::NAN,
    );
}

impl Load {
    #[expect(
        clippy::cast_precision_loss,
        reason = "it is printed with three digits"
    )]
    fn mib(self) -> f64 {
        (self.count * self.bytes) as f64 / MIB as f64
    }
}

fn median(figures: &[Figures]) -> Figures {
    let mut figures = figures.to_vec();
    figures.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    figures[figures.len() / 2]
}

fn print(mover: Mover, load: Load, figures: Figures, raw: f64) {
    let speed = load.mib() / figures.seconds;
    let size = if load.bytes >= MIB {
        format!("{} MiB", load.bytes / MIB)
    } else {
        format!("{} KiB", load.bytes / 1024)
    };
    println!(
        "{:26} {:14} {:8.0} {:10.2} {:9.0} {:7.2}",
        format!("{} x {size}, {} at once", load.count, load.concurrency),
        format!("{mover:?}"),
        speed,
        figures.cpu_seconds / (load.mib() / 1024.0),
        figures.peak_mib,
        speed / raw,
    );
}

async fn spawn(endpoint: &str, task: &Task) -> Figures {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env(TASK, serde_json::to_string(task).unwrap())
        .env("AWS_ENDPOINT_URL_S3", endpoint)
        .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY)
        .env("AWS_REGION", "us-east-1")
        .env("S3_BUCKET", s3::BUCKET)
        .stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(output.status.success(), "{task:?} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn work(task: Task) {
    let storage = Storage::from_env().await.unwrap();
    let host = task
        .source
        .trim_start_matches("http://")
        .trim_end_matches("/?");
    let guard = Guard::new(
        Ports::default(),
        host.parse().unwrap(),
        Resolver::from_system().unwrap(),
    );
    let sources = Sources::new(guard, Limits::of(2048 * MIB)).unwrap();
    let memory = usize::try_from(128 * MIB).unwrap();
    let at_a_time = NonZeroUsize::new(Memory::most_at_a_time(memory)).unwrap();
    let memory = Memory::new(memory, at_a_time);
    let engine = Engine {
        storage,
        memory,
        previewer: Previewer::start().unwrap(),
        stream_max: STREAM_MAX,
    };
    let pipe = Pipe::new(&task);

    let (begin, cpu_before) = (Instant::now(), cpu_seconds());
    match task.mover {
        Mover::Engine | Mover::EngineUnsized => with_engine(&sources, &engine, &task).await,
        Mover::Raw | Mover::Bare => for_each(&task, async |name| pipe.raw(&name).await).await,
        Mover::Plain => for_each(&task, async |name| pipe.plain(&name).await).await,
    }
    let (seconds, cpu_seconds) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    println!(
        "{}",
        serde_json::to_string(&Figures {
            seconds,
            cpu_seconds,
            peak_mib: peak_mib()
        })
        .unwrap()
    );
}

async fn for_each(task: &Task, work: impl AsyncFn(String)) {
    stream::iter(0..task.load.count)
        .for_each_concurrent(task.load.concurrency, async |index| {
            work(format!("{}-{index}", task.round)).await;
        })
        .await;
}

fn url(task: &Task, name: &str, bytes: u64) -> String {
    let framing = if task.mover == Mover::EngineUnsized {
        "&framing=chunked"
    } else {
        ""
    };
    task.source
        .replace("/?", &format!("/{name}?ranges=true&bytes={bytes}{framing}"))
}

async fn with_engine(sources: &Sources, engine: &Engine, task: &Task) {
    let job_id: JobId = "01a209ea-1ee1-7280-bf3d-b03044971ad4".parse().unwrap();
    for_each(task, async |name| {
        let lease = loop {
            // Temporal would retry the worker's attempt.
            if let Ok(lease) = BudgetLease::enter(&engine.memory, None).await {
                break lease;
            }
        };
        let source = sources
            .open(&url(task, &name, task.load.bytes))
            .await
            .unwrap();
        let index = name.rsplit('-').next().unwrap().parse().unwrap();
        let (job_id, prediction_id) = (job_id, String::new());
        engine
            .store(
                &Destination {
                    job_id,
                    prediction_id,
                    index,
                    name: None,
                    existing: Existing::Keep,
                },
                source,
                lease,
            )
            .await
            .unwrap();
    })
    .await;
}

/// Pipes the source into the SDK, with nothing in between.
struct Pipe<'a> {
    client: S3,
    /// Client of streamed requests: with the SDK's checksums, or with [`Mover::Bare`] without any.
    streaming: S3,
    http: reqwest::Client,
    task: &'a Task,
}

impl<'a> Pipe<'a> {
    fn new(task: &'a Task) -> Self {
        let config = || {
            aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .credentials_provider(Credentials::new(
                    s3::ACCESS_KEY,
                    s3::SECRET_KEY,
                    None,
                    None,
                    "bench",
                ))
                .region(Region::new("us-east-1"))
                .endpoint_url(std::env::var("AWS_ENDPOINT_URL_S3").unwrap())
                .force_path_style(true)
        };
        let client = S3::from_conf(config().build());
        let streaming = if task.mover == Mover::Bare {
            let bare = config()
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .retry_config(RetryConfig::disabled())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            S3::from_conf(bare.build())
        } else {
            client.clone()
        };
        Self {
            client,
            streaming,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            task,
        }
    }

    /// Sends the requests that the engine sends for a file of this length.
    async fn raw(&self, name: &str) {
        let (client, bucket) = (&self.client, s3::BUCKET);
        let bytes = self.task.load.bytes;
        if bytes <= BUFFER as u64 {
            let body = ByteStream::from(self.get(name, bytes).await.bytes().await.unwrap());
            client
                .put_object()
                .bucket(bucket)
                .key(name)
                .body(body)
                .send()
                .await
                .unwrap();
        } else if bytes <= STREAM_MAX {
            let body = piped(self.get(name, bytes).await);
            let put = self
                .streaming
                .put_object()
                .bucket(bucket)
                .key(name)
                .body(body);
            put.content_length(bytes.try_into().unwrap())
                .customize()
                .disable_payload_signing()
                .send()
                .await
                .unwrap();
        } else {
            let upload = self.begin(name).await;
            let mut parts = Vec::new();
            for number in 1..=i32::try_from(bytes.div_ceil(STREAMED_PART)).unwrap() {
                let body = piped(self.get(name, STREAMED_PART).await);
                let part = self
                    .streaming
                    .upload_part()
                    .bucket(bucket)
                    .key(name)
                    .upload_id(&upload);
                let part = part
                    .part_number(number)
                    .body(body)
                    .content_length(STREAMED_PART.try_into().unwrap());
                let sent = part
                    .customize()
                    .disable_payload_signing()
                    .send()
                    .await
                    .unwrap();
                let part = CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag);
                parts.push(part.set_checksum_crc32(sent.checksum_crc32).build());
            }
            self.complete(name, &upload, parts).await;
        }
    }

    /// Sends parts of 8 MiB, one after another, and hashes all bytes, as a program does that
    /// verifies what it stored.
    async fn plain(&self, name: &str) {
        let (client, bucket) = (&self.client, s3::BUCKET);
        let bytes = self.task.load.bytes;
        if bytes <= BUFFER as u64 {
            return self.raw(name).await;
        }
        let upload = self.begin(name).await;
        let mut arriving = self.get(name, bytes).await.bytes_stream();
        let mut parts = Vec::new();
        let mut part = Vec::new();
        let mut sha256 = Sha256::new();
        loop {
            let chunk = arriving.try_next().await.unwrap();
            sha256.update(chunk.as_deref().unwrap_or_default());
            part.extend_from_slice(chunk.as_deref().unwrap_or_default());
            while part.len() >= BUFFER || (chunk.is_none() && !part.is_empty()) {
                let rest = part.split_off(part.len().min(BUFFER));
                let number = i32::try_from(parts.len() + 1).unwrap();
                let body = ByteStream::from(std::mem::replace(&mut part, rest));
                let sent = client
                    .upload_part()
                    .bucket(bucket)
                    .key(name)
                    .upload_id(&upload)
                    .part_number(number);
                let sent = sent.body(body).send().await.unwrap();
                let part = CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag);
                parts.push(part.set_checksum_crc32(sent.checksum_crc32).build());
            }
            if chunk.is_none() {
                break;
            }
        }
        self.complete(name, &upload, parts).await;
        std::hint::black_box(sha256.finalize());
    }

    async fn get(&self, name: &str, bytes: u64) -> reqwest::Response {
        self.http
            .get(url(self.task, name, bytes))
            .send()
            .await
            .unwrap()
    }

    async fn begin(&self, name: &str) -> String {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(s3::BUCKET)
            .key(name);
        let algorithm = (self.task.mover != Mover::Bare).then_some(ChecksumAlgorithm::Crc32);
        request
            .set_checksum_algorithm(algorithm)
            .send()
            .await
            .unwrap()
            .upload_id
            .unwrap()
    }

    async fn complete(&self, name: &str, upload: &str, parts: Vec<CompletedPart>) {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(s3::BUCKET)
            .key(name);
        request
            .upload_id(upload)
            .multipart_upload(parts)
            .send()
            .await
            .unwrap();
    }
}

fn piped(response: reqwest::Response) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(reqwest::Body::from(response)))
}

/// Returns the CPU time of this process in user and kernel mode, in seconds.
fn cpu_seconds() -> f64 {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let ticks = |field: usize| {
        after_name
            .split(' ')
            .nth(field)
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    (ticks(11) + ticks(12)) / TICKS
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}
