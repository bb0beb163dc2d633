//! `darkroom` without a subcommand, as a new user runs it: the embedded stack with sample jobs.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use darkroom_client::types::status::JobStatus;
use serde_json::json;
use tokio::io::AsyncBufReadExt;

use crate::support::{
    api::Api,
    harness::{BINARY, DEADLINE, fresh_directory, job, until},
    processes::signal_id,
};

/// A run whose output is read.
struct Run {
    child: Child,
    addresses: Vec<String>,
    api: String,
}

/// Starts `darkroom` and reads its output until the sample job has been shown.
fn run(directory: &Path) -> Run {
    let mut command = Command::new(BINARY);
    command
        .args(["--free-ports", "--sample", "one", "--data"])
        .arg(directory)
        .env_remove("REPLICATE_API_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut addresses = Vec::new();
    let mut api = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((name, address)) = line
            .strip_prefix("  ✓ ")
            .and_then(|line| line.rsplit_once(' '))
        {
            let address = address
                .trim_start_matches("http://")
                .trim_end_matches("/v1")
                .to_owned();
            match name.trim() {
                "Temporal" | "Temporal UI" | "S3" | "provider" => addresses.push(address),
                "api" => {
                    addresses.push(address.clone());
                    api = Some(format!("http://{address}"));
                }
                _ => {}
            }
        }
        if line.starts_with("Everything stays up") {
            break;
        }
    }
    Run {
        child,
        addresses,
        api: api.unwrap(),
    }
}

#[tokio::test]
async fn once_succeeds_when_every_output_is_verified() {
    let directory = fresh_directory("once");
    // The second run finds the jobs of the first one.
    for _ in 0..2 {
        let output = Command::new(BINARY)
            .args(["--once", "--free-ports", "--data"])
            .arg(&directory)
            .env_remove("REPLICATE_API_TOKEN")
            .output();
        let output = output.unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stdout}");
        let verified = "All 12 outputs downloaded and verified.";
        assert!(stdout.contains(verified), "{stdout}");
        for state in ["completed", "partial", "failed", "canceled"] {
            assert!(stdout.contains(&format!("  {state} ")), "{stdout}");
        }
    }
}

#[tokio::test]
async fn a_killed_run_leaves_no_process_behind_and_its_jobs_resume_later() {
    let directory = fresh_directory("killed");
    let mut first = run(&directory);
    let id = Api::at_url(first.api.clone())
        .accepted(&job(2, json!({"latency_ms": 4000})))
        .await;
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    until("closed ports", async || {
        first
            .addresses
            .iter()
            .all(|address| TcpStream::connect(address).is_err())
            .then_some(())
    })
    .await;

    let mut second = run(&directory);
    let job = Api::at_url(second.api.clone()).ended(&id).await;
    assert_eq!(job.status, JobStatus::Completed);

    signal_id(second.child.id(), "INT");
    assert!(second.child.wait().unwrap().success());
    assert!(
        second
            .addresses
            .iter()
            .all(|address| TcpStream::connect(address).is_err()),
        "Ctrl-C stops everything"
    );
}

#[tokio::test]
async fn a_supervisor_that_is_to_stop_stops_its_command() {
    for signal in ["INT", "TERM"] {
        let mut command = Command::new(BINARY);
        command
            .args(["supervise", "--", "sh", "-c", "echo $$; exec sleep 1000"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut supervisor = tokio::process::Command::from(command).spawn().unwrap();
        let mut stdout = tokio::io::BufReader::new(supervisor.stdout.take().unwrap());
        let mut id = String::new();
        stdout.read_line(&mut id).await.unwrap();

        // To wait would close it, which stops the command as well.
        let _pipe = supervisor.stdin.take();
        signal_id(supervisor.id().unwrap(), signal);
        let exited = tokio::time::timeout(DEADLINE, supervisor.wait()).await;
        assert!(exited.unwrap().unwrap().success(), "{signal}");
        let is_running = Command::new("kill").args(["-0", id.trim()]).status();
        assert!(!is_running.unwrap().success(), "{signal}");
    }
}

#[tokio::test]
async fn without_a_temporal_cli_it_names_three_ways_out() {
    let home = fresh_directory("no-cli");
    std::fs::create_dir_all(&home).unwrap();
    let output = Command::new(BINARY)
        .args(["--once", "--free-ports", "--data"])
        .arg(home.join("data"))
        .env_clear()
        .env("HOME", &home)
        .env("PATH", "/nowhere")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    for remedy in ["install Go", "https://docs.temporal.io/cli", "TEMPORAL_CLI"] {
        assert!(stderr.contains(remedy), "{stderr}");
    }
}
