//! Throughput, CPU time and memory of moving outputs from a source to a store, both on this
//! machine: the engine of `persist`, beside the same requests fed straight from the source (a raw
//! pipe), and beside a plain program (8 MiB parts one after another, the SDK's defaults, and a
//! SHA-256). Each runs in a process of its own, alternately. Figures of one run compare with each
//! other, not with those of another machine.
//!
//! `cargo bench --bench persist`, or a part of it: `cargo bench --bench persist -- speed` or
//! `memory`
//!
//! - `work`: one of the processes, which moves outputs and measures itself
//! - `baselines`: the raw pipe, and the plain program

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures and stops at the first error"
)]

mod baselines;
#[expect(dead_code, reason = "tests ask it for more")]
#[path = "../../tests/it/support/source.rs"]
mod source;
mod work;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use darkroom_dev::{Options, ProviderChoice, s3, versitygw::VersityGateway};
use serde::{Deserialize, Serialize};

use self::source::SourceServer;

const MIB: u64 = 1024 * 1024;
const ROUNDS: usize = 3;
const STREAM_MAX: u64 = 256 * MIB;

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

impl Task {
    /// Returns the URL of an output's source.
    fn url(&self, name: &str, bytes: u64) -> String {
        let framing = if self.mover == Mover::EngineUnsized {
            "&framing=chunked"
        } else {
            ""
        };
        let query = format!("/{name}?ranges=true&bytes={bytes}{framing}");
        self.source.replace("/?", &query)
    }
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
        Ok(task) => runtime.block_on(work::work(serde_json::from_str(&task).unwrap())),
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
