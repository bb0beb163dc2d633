//! What benchmarks share: a stack to measure, jobs for it, and what processes take of their machine, as Linux tells it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use darkroom_client::{
    Client,
    types::{job_id::JobId, resource::Job},
};
use darkroom_dev::{Options, ProviderChoice};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// The runtime that a benchmark runs on.
pub(crate) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().unwrap()
}

/// Options for a stack of real parts with fresh data and a provider that takes no time, which is told this as well.
pub(crate) fn options(name: &str, variables: &[(&'static str, &str)]) -> Options {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    Options {
        directory,
        binary: PathBuf::from(env!("CARGO_BIN_EXE_darkroom")),
        usual_ports: false,
        temporal_ui: false,
        provider: ProviderChoice::Embedded {
            latency: Duration::ZERO,
        },
        variables: variables
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
    }
}

/// A client of the api at this address, with a key where there are some.
pub(crate) fn client(url: &str, key: Option<&str>) -> Client {
    let builder = Client::builder(url.parse().unwrap());
    let builder = match key {
        Some(key) => builder.api_key(key),
        None => builder,
    };
    builder.build().unwrap()
}

/// Instructions for the embedded provider: small files, after so many milliseconds.
pub(crate) fn small(latency_ms: u64) -> Value {
    json!({"bytes": 1024, "latency_ms": latency_ms})
}

/// Has a job of so many outputs accepted, of which the provider is told this, and returns its id.
pub(crate) async fn accept(client: &Client, num_outputs: u32, dev: Value) -> JobId {
    let request = json!({"model": "acme/photo", "prompt": "a fox", "num_outputs": num_outputs, "input": {"dev": dev}});
    create(client, &request).await.job_id
}

/// Creates a job, plainly: what the api does for an `Idempotency-Key` is no part of the figures, and nothing is retried.
pub(crate) async fn create(client: &Client, request: &Value) -> Job {
    let url = client.url_of(&["v1", "jobs"]);
    let create = client.request(Method::POST, url).json(request);
    let created = create.send().await.unwrap().error_for_status().unwrap();
    created.json().await.unwrap()
}

/// Clock ticks a second, which Linux shows to programs on every machine.
const TICKS: f64 = 100.0;

/// What a process and its descendants have taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU seconds since they began.
    pub(crate) cpu: f64,
    /// Memory of their own, in MiB.
    pub(crate) memory: f64,
}

impl Usage {
    /// Of the process of this id and all below it.
    pub(crate) fn of(id: u32) -> Self {
        let parents = parents();
        let mut all = vec![id];
        let mut next = 0;
        while next < all.len() {
            let of = all[next];
            all.extend(
                parents
                    .iter()
                    .filter(|(_, parent)| **parent == of)
                    .map(|(child, _)| *child),
            );
            next += 1;
        }
        all.into_iter()
            .map(Self::of_one)
            .fold(Self::default(), |sum, one| Self {
                cpu: sum.cpu + one.cpu,
                memory: sum.memory + one.memory,
            })
    }

    fn of_one(id: u32) -> Self {
        // A process may end while it is looked at.
        let Some(fields) = stat(id) else {
            return Self::default();
        };
        let ticks: f64 = fields[11..13]
            .iter()
            .map(|ticks| ticks.parse().unwrap_or(0.0))
            .sum();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let anonymous = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next());
        let kibibytes: f64 = anonymous
            .and_then(|kibibytes| kibibytes.parse().ok())
            .unwrap_or(0.0);
        Self {
            cpu: ticks / TICKS,
            memory: kibibytes / 1024.0,
        }
    }
}

fn parents() -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, stat(id)?[1].parse().ok()?)))
        .collect()
}

/// The fields after the name, which may have anything in it: the state is the first.
pub(crate) fn stat(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
