//! Load of the machine during a measurement: wait of workflow tasks for a worker, CPU time of each
//! program, and calls to Temporal.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Client as Http;

use crate::support::stat;

/// Number of Temporal operations that are printed, the most frequent ones.
const CALLS: usize = 6;

pub(crate) struct Machine {
    http: Http,
    worker: String,
    temporal: String,
}

/// Counters at one moment.
struct Counters {
    at: Instant,
    /// Workflow tasks of a worker, and the seconds that they waited (schedule to start).
    tasks: f64,
    waited: f64,
    /// CPU ticks of the machine, and of each program.
    all: f64,
    programs: BTreeMap<String, f64>,
    /// Number of calls of each operation of Temporal's frontend.
    calls: BTreeMap<String, f64>,
}

impl Machine {
    /// Takes the file with the port of a worker's metrics, and the address of Temporal's.
    pub(crate) fn of(worker_port: &Path, temporal: SocketAddr) -> Self {
        let port = fs::read_to_string(worker_port).unwrap();
        Self {
            http: Http::builder().no_proxy().build().unwrap(),
            worker: format!("http://127.0.0.1:{}/metrics", port.trim()),
            temporal: format!("http://{temporal}/metrics"),
        }
    }

    /// Runs a measurement, and appends the load of the machine during it to its result.
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

    async fn count(&self) -> Counters {
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
        // All ticks except idle and iowait.
        programs.insert("all".to_owned(), all - ticks[3] - ticks[4]);
        let sum = |name: &str| -> f64 {
            let names = [
                format!("{WAITED}_{name}"),
                format!("{WAITED}_seconds_{name}"),
            ];
            let is_of = |line: &&str| names.iter().any(|name| line.starts_with(name));
            worker.lines().filter(is_of).map(value).sum()
        };
        Counters {
            at: Instant::now(),
            tasks: sum("count"),
            waited: sum("sum"),
            all,
            programs,
            calls,
        }
    }

    /// Returns the metrics of a program; empty if it has ended.
    async fn read(&self, metrics: &str) -> String {
        match self.http.get(metrics).send().await {
            Ok(answer) => answer.text().await.unwrap(),
            Err(_) => String::new(),
        }
    }
}

/// Returns the counters that have grown most, scaled by `unit`.
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
    let printed = grown.into_iter().take(count);
    let printed: Vec<_> = printed
        .map(|(name, grown)| format!("{name} {grown:.0}"))
        .collect();
    printed.join(", ")
}

fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn value(line: &str) -> f64 {
    let (_, value) = line.rsplit_once(' ').unwrap_or_default();
    value.parse().unwrap_or_default()
}

/// Returns the CPU ticks of all programs so far, by name; those of the `darkroom` binary by
/// subcommand.
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
