//! Processes of a stack: signals, ends, restarts, logs and metrics.

use std::{fs, path::Path, process::Command};

use darkroom_dev::{
    Options, Stack, process::Process, temporal::TemporalServer, temporal_cli,
    versitygw::VersityGateway,
};
use serde_json::Value;

use super::harness::{start, until};

/// Files of a Temporal server's database.
pub(crate) const TEMPORAL_FILES: [&str; 3] = ["temporal.db", "temporal.db-wal", "temporal.db-shm"];

/// Sends SIGTERM to a process, as an orchestrator does for a graceful shutdown.
pub(crate) fn terminate(process: &Process) {
    signal(process, "TERM");
}

/// Sends a signal to a process.
pub(crate) fn signal(process: &Process, name: &str) {
    signal_id(process.id(), name);
}

/// Sends a signal to a process that is known by its id.
pub(crate) fn signal_id(id: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &id.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Waits until a process has exited.
pub(crate) async fn until_exited(process: &Process) {
    until(&format!("exit of process {}", process.id()), async || {
        (!process.is_running()).then_some(())
    })
    .await;
}

/// Starts a worker in place of the stack's worker, which must have ended.
pub(crate) fn start_worker(stack: &mut Stack) {
    stack.worker = stack.spawn("worker").unwrap();
}

/// Kills the worker of a stack and starts another one.
pub(crate) fn restart_worker(stack: &mut Stack) {
    stack.worker.kill();
    start_worker(stack);
}

/// Starts an api in place of the stack's api, which must have ended, and waits until it is ready.
pub(crate) async fn start_api(stack: &mut Stack) {
    stack.api = stack.spawn("api").unwrap();
    stack.until_ready().await.unwrap();
}

/// Starts the Temporal server of a stack again, after it was killed.
pub(crate) async fn start_temporal(options: &Options) -> TemporalServer {
    let cli = temporal_cli::locate(&|_: &str| {}).await.unwrap();
    TemporalServer::start(&cli, options).await.unwrap()
}

/// Starts a Versity gateway with the data of these options.
pub(crate) async fn start_gateway(options: &Options) -> VersityGateway {
    let gateway = VersityGateway::start(options, &|_: &str| {}).await;
    gateway.unwrap()
}

/// Restarts a stack with an empty Temporal database and the same store. To the api this looks like
/// a Temporal that has deleted all closed workflows after their retention.
pub(crate) async fn restart_with_empty_temporal(stack: Stack, options: &Options) -> Stack {
    stack.temporal.kill();
    for file in TEMPORAL_FILES {
        fs::remove_file(options.directory.join(file)).unwrap();
    }
    drop(stack);
    start(options).await
}

/// Log of a process of the stack in a directory.
pub(crate) fn log_of(directory: &Path, process: &str) -> String {
    fs::read_to_string(directory.join(format!("logs/{process}.log"))).unwrap()
}

/// Address at which a process of a stack serves its metrics, read from its log.
pub(crate) fn metrics_address(directory: &Path, process: &str) -> String {
    let log = log_of(directory, process);
    let mut lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines
        .rfind(|line| line["message"] == "metrics are served")
        .unwrap();
    line["address"].as_str().unwrap().to_owned()
}
