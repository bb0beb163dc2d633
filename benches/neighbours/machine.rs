//! What the machine does meanwhile: how long workers are waited for, what each program takes of it, and what is asked of Temporal.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Client as Http;

use crate::support::stat;

/// How many of the calls to Temporal are told, the most frequent ones.
const CALLS: usize = 6;

pub(crate) struct Machine {
    http: Http,
    worker: String,
    temporal: String,
}

/// What was counted by a moment.
struct Counted {
    at: Instant,
    /// What a worker has of workflow tasks: how many, and for how many seconds they waited.
    tasks: f64,
    waited: f64,
    /// What the machine has of time, and each program took, in ticks.
    all: f64,
    programs: BTreeMap<String, f64>,
    /// How often each operation of Temporal's frontend was called.
    calls: BTreeMap<String, f64>,
}

impl Machine {
    /// Where a worker's metrics are, by the file that names its port, and Temporal's.
    pub(crate) fn of(worker_port: &Path, temporal: SocketAddr) -> Self {
        let port = fs::read_to_string(worker_port).unwrap();
        Self {
            http: Http::builder().no_proxy().build().unwrap(),
            worker: format!("http://127.0.0.1:{}/metrics", port.trim()),
            temporal: format!("http://{temporal}/metrics"),
        }
    }

    /// Waits for what is measured, and adds what was going on meanwhile.
    pub(crate) async fn during(&self, measured: impl Future<Output = String>) -> String {
        let before = self.count().await;
        let measured = measured.await;
        let after = self.count().await;
        let tasks = after.tasks - before.tasks;
        let waited = Duration::from_secs_f64((after.waited - before.waited) / tasks.max(1.0));
        let of_machine = 100.0 / (after.all - before.all);
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let programs = most(&before.programs, &after.programs, of_machine, usize::MAX);
        let calls = most(&before.calls, &after.calls, 1.0 / seconds, CALLS);
        format!(
            "{measured}\n  {tasks} workflow tasks waited {waited:.1?} on average\n  of the machine in %: {programs}\n  \
             calls a second: {calls}"
        )
    }

    async fn count(&self) -> Counted {
        const WAITED: &str = "temporal_workflow_task_schedule_to_start_latency";
        const CALLED: &str = "service_requests{";
        let worker = self.read(&self.worker).await;
        let temporal = self.read(&self.temporal).await;
        let mut calls = BTreeMap::new();
        for line in temporal.lines().filter(|line| line.starts_with(CALLED)) {
            if label(line, "service_name") == Some("frontend")
                && let Some(operation) = label(line, "operation")
            {
                *calls.entry(operation.to_owned()).or_default() += value(line);
            }
        }
        let ticks = fs::read_to_string("/proc/stat").unwrap();
        let ticks = ticks.lines().next().unwrap().split_whitespace().skip(1);
        let ticks: Vec<f64> = ticks.map(|ticks| ticks.parse().unwrap()).collect();
        let all = ticks.iter().sum::<f64>();
        let mut programs = programs();
        // What is neither idle nor waits for a disk.
        programs.insert("all".to_owned(), all - ticks[3] - ticks[4]);
        let sum = |name: &str| -> f64 {
            let names = [
                format!("{WAITED}_{name}"),
                format!("{WAITED}_seconds_{name}"),
            ];
            let is_of = |line: &&str| names.iter().any(|name| line.starts_with(name));
            worker.lines().filter(is_of).map(value).sum()
        };
        Counted {
            at: Instant::now(),
            tasks: sum("count"),
            waited: sum("sum"),
            all,
            programs,
            calls,
        }
    }

    /// What a program counts; nothing of one that has ended.
    async fn read(&self, metrics: &str) -> String {
        match self.http.get(metrics).send().await {
            Ok(answer) => answer.text().await.unwrap(),
            Err(_) => String::new(),
        }
    }
}

/// What has grown most, by how much of a unit.
fn most(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    unit: f64,
    count: usize,
) -> String {
    let grown = after.iter().map(|(name, now)| {
        let before = before.get(name).copied().unwrap_or_default();
        (name, (now - before) * unit)
    });
    let mut grown: Vec<_> = grown.filter(|(_, grown)| *grown >= 1.0).collect();
    grown.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let told = grown.into_iter().take(count);
    let told: Vec<_> = told
        .map(|(name, grown)| format!("{name} {grown:.0}"))
        .collect();
    told.join(", ")
}

fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn value(line: &str) -> f64 {
    let (_, value) = line.rsplit_once(' ').unwrap_or_default();
    value.parse().unwrap_or_default()
}

/// The CPU ticks that the programs of this machine have taken so far, by name and, of ours, by what they were told to be.
fn programs() -> BTreeMap<String, f64> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut programs = BTreeMap::new();
    for id in ids {
        let Some(fields) = stat(id) else { continue };
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let program = words.next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        let program = program.split([':', ' ']).next().unwrap_or_default();
        let name = match words.next() {
            Some(role) if program == "darkroom" => role.into_owned(),
            _ => program.to_owned(),
        };
        let ticks = fields[11..13].iter();
        let ticks = ticks.map(|ticks| ticks.parse().unwrap_or(0.0));
        *programs.entry(name).or_default() += ticks.sum::<f64>();
    }
    programs
}
