//! Shared parts of the benchmarks: a stack to measure, jobs for it, and the CPU time and memory of
//! processes, as Linux reports them.

use std::{collections::BTreeMap, env, fs, path::Path, time::Duration};

use darkroom_client::{
    Client,
    types::{job_id::JobId, resource::Job},
};
use darkroom_dev::{Options, ProviderChoice};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Builds the runtime that a benchmark runs on.
pub(crate) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().unwrap()
}

/// Options of a stack with fresh data, further variables, and a provider whose predictions end at
/// once. `DARKROOM_BINARY` names another build of the program, with the feature `dev`.
pub(crate) fn options(name: &str, variables: &[(&'static str, &str)]) -> Options {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    Options {
        directory,
        binary: env::var_os("DARKROOM_BINARY")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_darkroom").into())
            .into(),
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

/// Builds a client of the api at this URL, with a key if there is one.
pub(crate) fn client(url: &str, key: Option<&str>) -> Client {
    let builder = Client::builder(url.parse().unwrap());
    let builder = match key {
        Some(key) => builder.api_key(key),
        None => builder,
    };
    builder.build().unwrap()
}

/// Instructions for the embedded provider: 1 KiB files, and a prediction that takes this long.
pub(crate) fn small(latency_ms: u64) -> Value {
    json!({"bytes": 1024, "latency_ms": latency_ms})
}

/// Creates a job with these instructions for the embedded provider (`input.dev`), and returns its
/// id.
pub(crate) async fn accept(client: &Client, num_outputs: u32, dev: Value) -> JobId {
    let request = json!({"model": "acme/photo", "prompt": "a fox", "num_outputs": num_outputs, "input": {"dev": dev}});
    create(client, &request).await.job_id
}

/// Creates a job without an `Idempotency-Key`, whose cost is not to be measured, and without
/// retries.
pub(crate) async fn create(client: &Client, request: &Value) -> Job {
    let url = client.url_of(&["v1", "jobs"]);
    let create = client.request(Method::POST, url).json(request);
    let created = create.send().await.unwrap().error_for_status().unwrap();
    created.json().await.unwrap()
}

/// Clock ticks per second, which Linux reports to programs on every machine.
const TICKS: f64 = 100.0;

/// CPU time and memory of a process and its descendants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time since they began, in seconds.
    pub(crate) cpu: f64,
    /// Anonymous memory (`RssAnon`), in MiB.
    pub(crate) memory: f64,
}

impl Usage {
    /// Reads the usage of a process and all its descendants.
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
        // A process may end between the listing and this read.
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

/// Returns the fields of `/proc/{id}/stat` after the name, which may contain spaces and
/// parentheses. The first one is the state.
pub(crate) fn stat(id: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
