//! Bad input, from callers and from the environment: each has a clear error, and nothing is started.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use futures::StreamExt;
use reqwest::{Response, header::CONTENT_TYPE};
use serde_json::{Value, json};
use temporalio_client::WorkflowListOptions;

use crate::harness::{Api, BINARY, DEADLINE, shared};

/// No acceptable request of any test names it.
const MODEL: &str = "acme/never-started";

#[tokio::test]
async fn bad_requests_are_refused_and_start_nothing() {
    let api = Api::of(shared());
    let with = |field: &str, value: Value| {
        let mut body = json!({"model": MODEL, "prompt": "a fox"});
        body[field] = value;
        body.to_string()
    };
    let cases = [
        ("not JSON", "{\"model\":".to_owned()),
        ("two values", format!("{} {{}}", with("seed", json!(1)))),
        ("no object", json!([MODEL, "a fox"]).to_string()),
        ("text", "\"a fox\"".to_owned()),
        ("no prompt", json!({"model": MODEL}).to_string()),
        ("unknown field", with("promt", json!("a fox"))),
        ("no outputs", with("num_outputs", json!(0))),
        ("101 outputs", with("num_outputs", json!(101))),
        ("outputs as text", with("num_outputs", json!("4"))),
        ("empty prompt", with("prompt", json!(""))),
        ("prompt too long", with("prompt", json!("x".repeat(10_001)))),
        ("prompt of 1 MiB", with("prompt", json!("x".repeat(1024 * 1024)))),
        ("model without owner", with("model", json!("photo"))),
        ("unknown format", with("output_format", json!("bmp"))),
        ("metadata not text", with("metadata", json!({"order": 7}))),
    ];
    let mut answers = Vec::new();
    for (name, body) in cases {
        let url = format!("{}/v1/jobs", api.url);
        let response = api.http.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await.unwrap();
        answers.push(format!("{name}\n{}\n", describe(response).await));
    }
    insta::assert_snapshot!(answers.join("\n"));
    assert_eq!(started_with_model().await, 0);
}

#[tokio::test]
async fn other_bad_calls_get_problems_too() {
    let api = Api::of(shared());
    let id = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1";
    let url = |path: &str| format!("{}{path}", api.url);
    let mut answers = Vec::new();
    for (name, request) in [
        ("no content type", api.http.post(url("/v1/jobs")).body("{}")),
        ("form", api.http.post(url("/v1/jobs")).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body("a=b")),
        ("unknown job", api.http.get(url(&format!("/v1/jobs/{id}")))),
        ("no job id", api.http.get(url("/v1/jobs/..%2f..%2fetc%2fpasswd"))),
        ("unknown job's output", api.http.get(url(&format!("/v1/jobs/{id}/media/0")))),
        ("no output index", api.http.get(url(&format!("/v1/jobs/{id}/media/first")))),
        ("unknown path", api.http.get(url("/v2"))),
        ("unknown method", api.http.delete(url(&format!("/v1/jobs/{id}")))),
    ] {
        answers.push(format!("{name}\n{}\n", describe(request.send().await.unwrap()).await));
    }
    insta::assert_snapshot!(answers.join("\n"));
}

async fn describe(response: Response) -> String {
    let status = response.status();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status.as_u16());
    format!("{status}\n{body:#}")
}

async fn started_with_model() -> usize {
    let client = shared().temporal.client().await.unwrap();
    client.list_workflows(format!("Model = '{MODEL}'"), WorkflowListOptions::default()).count().await
}

/// Runs a service that cannot start and returns what it says.
fn refuses(service: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(BINARY);
    command.arg(service).env_clear();
    command.envs([
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_ENDPOINT_URL_S3", shared().s3.endpoint.as_str()),
        ("REPLICATE_API_TOKEN", "t"),
        ("RUST_LOG", "off"),
    ]);
    let mut process =
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let give_up = Instant::now() + DEADLINE;
    while process.try_wait().unwrap().is_none() {
        if Instant::now() > give_up {
            process.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let Output { status, stdout, stderr } = process.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(1), "{environment:?}");
    assert!(stdout.is_empty());
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim().to_owned()
}

#[test]
fn a_malformed_environment_is_named_on_one_line() {
    for (service, name, value) in [
        ("worker", "REPLICATE_API_TOKEN", ""),
        ("worker", "REPLICATE_BASE_URL", "not a url"),
        ("worker", "WORKER_QUEUES", "render"),
        ("worker", "PERSIST_CONCURRENCY", "0"),
        ("worker", "SUBMISSION_UNKNOWN", "perhaps"),
        ("worker", "S3_CHECKSUMS", "always"),
        ("worker", "TEMPORAL_ADDRESS", "://"),
        ("api", "DARKROOM_LISTEN", "localhost"),
        ("api", "DARKROOM_LISTEN", "0.0.0.0:0"),
        ("api", "DARKROOM_PUBLIC_URL", "darkroom"),
        ("api", "S3_PUBLIC_ENDPOINT", "?"),
        ("api", "S3_PATH_STYLE", "perhaps"),
    ] {
        let said = refuses(service, &[(name, value)]);
        assert!(
            said.starts_with("error: ") && said.contains(name) && said.contains("set it like")
                || said.contains("set them like"),
            "{said}"
        );
    }
}

#[test]
fn a_secret_is_not_repeated() {
    let said = refuses("worker", &[("REPLICATE_API_TOKEN", "r8_secret"), ("WORKER_QUEUES", "render")]);
    assert!(!said.contains("r8_secret"));
}

#[test]
fn a_worker_does_not_start_against_a_store_that_refuses() {
    let said = refuses("worker", &[("AWS_SECRET_ACCESS_KEY", "wrong")]);
    assert!(said.contains("the store refuses the bucket \"darkroom\""), "{said}");
    let said = refuses("worker", &[("AWS_ENDPOINT_URL_S3", ""), ("AWS_REGION", "")]);
    assert!(said.contains("AWS_REGION"), "{said}");
}
