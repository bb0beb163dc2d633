//! Malformed environment variables: a clear error on one line, and nothing is started. Bad input of
//! callers is in `http`.

use std::process::Output;

use tokio::process::Command;

use crate::support::harness::{BINARY, DEADLINE, shared};

/// Runs a service that cannot start, and returns its error message.
async fn startup_error(service: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(BINARY);
    command.arg(service).env_clear().kill_on_drop(true);
    command
        .envs([
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_ENDPOINT_URL_S3", shared().s3.endpoint.as_str()),
            ("REPLICATE_API_TOKEN", "t"),
            ("RUST_LOG", "off"),
        ])
        .envs(environment.iter().copied());
    let output = tokio::time::timeout(DEADLINE, command.output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = output
        .unwrap_or_else(|_| panic!("{environment:?}: the {service} has started"))
        .unwrap();
    assert_eq!(status.code(), Some(1), "{environment:?}");
    assert!(stdout.is_empty());
    let message = String::from_utf8(stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    message.trim().to_owned()
}

#[tokio::test]
async fn a_malformed_environment_is_named_on_one_line() {
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
        let message = startup_error(service, &[(name, value)]).await;
        assert!(
            message.starts_with("error: ")
                && message.contains(name)
                && message.contains("set it like"),
            "{message}"
        );
    }
    let message = startup_error("worker", &[("TEMPORAL_ADDRESS", "://")]).await;
    assert!(
        message.starts_with("error: TEMPORAL_*: ") && message.contains("set them like"),
        "{message}"
    );
}

/// Covers values that are valid by themselves and contradict other variables.
#[tokio::test]
async fn urls_that_callers_cannot_reach_are_named() {
    let public = ("DARKROOM_PUBLIC_URL", "https://darkroom.example.com");
    for (service, variable) in [
        ("api", "S3_PUBLIC_ENDPOINT=http://localhost:9000"),
        (
            "worker",
            "REPLICATE_BASE_URL=https://darkroom.example.com/v1",
        ),
    ] {
        let (name, value) = variable.split_once('=').unwrap();
        let message = startup_error(service, &[public, (name, value)]).await;
        assert!(message.contains(&format!("{name}: ")), "{message}");
    }
}

#[tokio::test]
async fn a_secret_is_not_repeated() {
    let message = startup_error(
        "worker",
        &[
            ("REPLICATE_API_TOKEN", "r8_secret"),
            ("WORKER_QUEUES", "render"),
        ],
    )
    .await;
    assert!(!message.contains("r8_secret"));
}

#[tokio::test]
async fn a_worker_does_not_start_without_a_region() {
    let message = startup_error("worker", &[("AWS_ENDPOINT_URL_S3", ""), ("AWS_REGION", "")]).await;
    assert!(message.contains("AWS_REGION"), "{message}");
}
