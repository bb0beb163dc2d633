//! Malformed environment variables: a clear error on one line, and nothing is started. Bad input of
//! callers is in `http`.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::support::harness::{BINARY, DEADLINE, shared};

/// Runs a service that cannot start, and returns its error message.
fn startup_error(service: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(BINARY);
    command.arg(service).env_clear();
    command.envs([
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_ENDPOINT_URL_S3", shared().s3.endpoint.as_str()),
        ("REPLICATE_API_TOKEN", "t"),
        ("RUST_LOG", "off"),
    ]);
    let mut process = command
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + DEADLINE;
    while process.try_wait().unwrap().is_none() {
        if Instant::now() > give_up {
            process.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let Output {
        status,
        stdout,
        stderr,
    } = process.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(1), "{environment:?}");
    assert!(stdout.is_empty());
    let message = String::from_utf8(stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    message.trim().to_owned()
}

#[test]
fn a_malformed_environment_is_named_on_one_line() {
    for (service, variable) in [
        ("worker", "REPLICATE_API_TOKEN="),
        ("worker", "REPLICATE_BASE_URL=not a url"),
        ("worker", "WORKER_QUEUES=render"),
        ("worker", "WORKFLOW_TASK_CONCURRENCY=1"),
        ("worker", "PERSIST_CONCURRENCY=0"),
        ("worker", "PERSIST_CONCURRENCY=33"),
        ("worker", "SUBMISSION_UNKNOWN=perhaps"),
        ("worker", "S3_CHECKSUMS=always"),
        ("api", "DARKROOM_LISTEN=localhost"),
        ("api", "DARKROOM_LISTEN=0.0.0.0:0"),
        ("api", "DARKROOM_API_KEYS=acme"),
        ("api", "DARKROOM_CORS_ORIGINS=*"),
        ("api", "DARKROOM_REQUESTS_PER_SECOND=0"),
        ("api", "DARKROOM_WEBHOOK_SECRET=secret"),
        ("worker", "DARKROOM_WEBHOOK_SECRET=secret"),
        ("worker", "WEBHOOK_ALLOW=hooks.internal"),
        ("api", "DARKROOM_PUBLIC_URL=darkroom"),
        ("api", "S3_PUBLIC_ENDPOINT=?"),
        ("api", "S3_KEY_PREFIX=media"),
        ("worker", "S3_KEY_PREFIX=media"),
        ("api", "S3_PATH_STYLE=perhaps"),
    ] {
        let (name, value) = variable.split_once('=').unwrap();
        let message = startup_error(service, &[(name, value)]);
        assert!(
            message.starts_with("error: ")
                && message.contains(name)
                && message.contains("set it like"),
            "{message}"
        );
    }
    let message = startup_error("worker", &[("TEMPORAL_ADDRESS", "://")]);
    assert!(
        message.starts_with("error: TEMPORAL_*: ") && message.contains("set them like"),
        "{message}"
    );
}

/// Covers values that are valid by themselves and contradict other variables.
#[test]
fn what_callers_cannot_reach_is_named() {
    let public = ("DARKROOM_PUBLIC_URL", "https://darkroom.example.com");
    for (service, variable) in [
        ("api", "S3_PUBLIC_ENDPOINT=http://localhost:9000"),
        (
            "worker",
            "REPLICATE_BASE_URL=https://darkroom.example.com/v1",
        ),
    ] {
        let (name, value) = variable.split_once('=').unwrap();
        let message = startup_error(service, &[public, (name, value)]);
        assert!(message.contains(&format!("{name}: ")), "{message}");
    }
}

#[test]
fn a_secret_is_not_repeated() {
    let message = startup_error(
        "worker",
        &[
            ("REPLICATE_API_TOKEN", "r8_secret"),
            ("WORKER_QUEUES", "render"),
        ],
    );
    assert!(!message.contains("r8_secret"));
}

#[test]
fn a_worker_does_not_start_without_a_region() {
    let message = startup_error("worker", &[("AWS_ENDPOINT_URL_S3", ""), ("AWS_REGION", "")]);
    assert!(message.contains("AWS_REGION"), "{message}");
}
