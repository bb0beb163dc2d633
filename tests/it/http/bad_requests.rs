//! Bad requests and their exact answers: each answer is a problem that `/openapi.json` lists, and
//! no workflow is started.

use reqwest::{Method, Response, header::CONTENT_TYPE};
use serde_json::{Value, json};
use temporalio_client::WorkflowListOptions;

use super::document;
use crate::support::{api::Api, harness::shared};

/// Model that no acceptable request of any test names.
const MODEL: &str = "acme/never-started";

/// Job id that no test creates.
const ID: &str = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1";

struct Case {
    name: &'static str,
    method: Method,
    path: String,
    /// The path as the description writes it; empty for requests that it does not describe.
    route: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

/// A create with this body.
fn create(name: &'static str, body: &impl ToString) -> Case {
    Case {
        body: Some(body.to_string()),
        ..declared(name, &[("content-type", "application/json")])
    }
}

/// A create whose only fault is the value of this field.
fn with(name: &'static str, field: &str, value: Value) -> Case {
    let mut body = json!({"model": MODEL, "prompt": "a fox"});
    body[field] = value;
    create(name, &body)
}

/// A create that is acceptable but for these headers.
fn declared(name: &'static str, headers: &[(&'static str, &str)]) -> Case {
    let body = json!({"model": MODEL, "prompt": "a fox"}).to_string();
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    Case {
        name,
        method: Method::POST,
        path: "/v1/jobs".to_owned(),
        route: "/v1/jobs",
        headers,
        body: Some(body),
    }
}

fn list(name: &'static str, query: &str) -> Case {
    without_body(name, Method::GET, "/v1/jobs", &format!("/v1/jobs?{query}"))
}

fn without_body(name: &'static str, method: Method, route: &'static str, path: &str) -> Case {
    Case {
        name,
        method,
        path: path.to_owned(),
        route,
        headers: Vec::new(),
        body: None,
    }
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn cases() -> Vec<Case> {
    let url = |length: usize| format!("https://example.com/{}", "a".repeat(length - 20));
    let metadata = |entries: usize| {
        (0..entries)
            .map(|number| (number.to_string(), json!("v")))
            .collect::<Value>()
    };
    let mut cases = vec![
        create("no JSON", &"{\"model\":"),
        create(
            "two values",
            &format!("{} {{}}", json!({"model": MODEL, "prompt": "a fox"})),
        ),
        create("empty body", &""),
        create("not UTF-8 in JSON", &"{\"model\": \"\\ud800\"}"),
        create("an array", &json!([MODEL, "a fox"])),
        create("text", &"\"a fox\""),
        create("null", &"null"),
        create("a number", &"7"),
        create("an empty object", &"{}"),
        create("no prompt", &json!({"model": MODEL})),
        create("no model", &json!({"prompt": "a fox"})),
        create(
            "a field twice",
            &format!("{{\"model\": \"{MODEL}\", \"model\": \"{MODEL}\", \"prompt\": \"a fox\"}}"),
        ),
        with("an unknown field", "promt", json!("a fox")),
        with("an unknown field of another api", "version", json!("v1")),
        with("no outputs", "num_outputs", json!(0)),
        with("101 outputs", "num_outputs", json!(101)),
        with("outputs as text", "num_outputs", json!("4")),
        with("half an output", "num_outputs", json!(1.5)),
        with("minus one output", "num_outputs", json!(-1)),
        with("outputs as null", "num_outputs", Value::Null),
        with("an empty prompt", "prompt", json!("")),
        with("a blank prompt", "prompt", json!(" \n\t")),
        with(
            "a prompt that is too long",
            "prompt",
            json!("x".repeat(10_001)),
        ),
        with("a prompt as a number", "prompt", json!(7)),
        with(
            "a prompt of 1 MiB",
            "prompt",
            json!("x".repeat(1024 * 1024)),
        ),
        with("a model without owner", "model", json!("photo")),
        with("a model of three parts", "model", json!("a/b/c")),
        with("a model that climbs", "model", json!("../photo")),
        with(
            "a model with a quote",
            "model",
            json!("acme/photo' OR '1'='1"),
        ),
        with("a model as null", "model", Value::Null),
        with("an unknown format", "output_format", json!("bmp")),
        with("a format in capitals", "output_format", json!("PNG")),
        with("a negative seed", "seed", json!(-1)),
        with("a seed as text", "seed", json!("7")),
        with("a seed beyond 64 bits", "seed", json!(1e30)),
        with("no time at all", "deadline_seconds", json!(0)),
        with("more than a week", "deadline_seconds", json!(604_801)),
        with("input as text", "input", json!("aspect_ratio")),
        with("input as a list", "input", json!([1])),
        with("too much input", "input", json!({"x": "y".repeat(262_144)})),
        with(
            "a field of its own within input",
            "input",
            json!({"num_outputs": 2}),
        ),
        with("to be before others", "priority", json!(2)),
        with("metadata that is no text", "metadata", json!({"order": 7})),
        with(
            "a metadata key that is too long",
            "metadata",
            json!({"k".repeat(41): "v"}),
        ),
        with("a metadata key that is empty", "metadata", json!({"": "v"})),
        with(
            "a metadata value that is too long",
            "metadata",
            json!({"k": "v".repeat(501)}),
        ),
        with("too much metadata", "metadata", metadata(51)),
        with("a relative webhook", "webhook_url", json!("/hook")),
        with(
            "a webhook by FTP",
            "webhook_url",
            json!("ftp://example.com/hook"),
        ),
        with(
            "a webhook as a file",
            "webhook_url",
            json!("file:///etc/passwd"),
        ),
        with(
            "a webhook with a password",
            "webhook_url",
            json!("https://a:b@example.com/"),
        ),
        with(
            "a webhook with a fragment",
            "webhook_url",
            json!("https://example.com/#a"),
        ),
        with(
            "a webhook that is too long",
            "webhook_url",
            json!(url(2049)),
        ),
        with("no webhook event", "webhook_events", json!([])),
        with(
            "an unknown webhook event",
            "webhook_events",
            json!(["job.started"]),
        ),
        with(
            "webhook events as text",
            "webhook_events",
            json!("job.completed"),
        ),
        declared("no content type", &[]),
        declared(
            "a form",
            &[("content-type", "application/x-www-form-urlencoded")],
        ),
        declared("JSON by another name", &[("content-type", "text/json")]),
        declared(
            "an empty key",
            &[
                ("content-type", "application/json"),
                ("idempotency-key", ""),
            ],
        ),
        declared(
            "a key with a space",
            &[
                ("content-type", "application/json"),
                ("idempotency-key", "a b"),
            ],
        ),
        declared(
            "a key that is too long",
            &[
                ("content-type", "application/json"),
                ("idempotency-key", &"k".repeat(256)),
            ],
        ),
        list("no page", "limit=0"),
        list("too large a page", "limit=101"),
        list("a page of letters", "limit=ten"),
        list("an unknown status", "status=done"),
        list("a status that is not listed", "status=pending"),
        list("a model that is none", "model=photo"),
        list("a model with a quote", "model=acme/photo%27%20OR%201=1"),
        list("a day as a time", "created_after=yesterday"),
        list(
            "a time without a zone",
            "created_before=2026-11-24T10:00:00",
        ),
        list("a cursor of letters", "cursor=abc"),
        list(
            "a cursor that is forged",
            "cursor=eyJwbGFjZSI6WzEsMiwzXSwiZmlsdGVyIjpbXX0",
        ),
        without_body(
            "an unknown job",
            Method::GET,
            "/v1/jobs/{job_id}",
            &format!("/v1/jobs/{ID}"),
        ),
        without_body(
            "no job id",
            Method::GET,
            "/v1/jobs/{job_id}",
            "/v1/jobs/..%2f..%2fetc%2fpasswd",
        ),
        without_body(
            "a job id in capitals",
            Method::GET,
            "/v1/jobs/{job_id}",
            &format!("/v1/jobs/{}", ID.to_uppercase()),
        ),
        without_body(
            "an unknown job's events",
            Method::GET,
            "/v1/jobs/{job_id}/events",
            &format!("/v1/jobs/{ID}/events"),
        ),
        without_body(
            "an unknown job's output",
            Method::GET,
            "/v1/jobs/{job_id}/media/{index}",
            &format!("/v1/jobs/{ID}/media/0"),
        ),
        without_body(
            "no output index",
            Method::GET,
            "/v1/jobs/{job_id}/media/{index}",
            &format!("/v1/jobs/{ID}/media/first"),
        ),
        without_body(
            "canceling an unknown job",
            Method::POST,
            "/v1/jobs/{job_id}/cancel",
            &format!("/v1/jobs/{ID}/cancel"),
        ),
        without_body(
            "retrying an unknown job",
            Method::POST,
            "/v1/jobs/{job_id}/retry",
            &format!("/v1/jobs/{ID}/retry"),
        ),
        without_body(
            "an unknown job's webhooks",
            Method::GET,
            "/v1/jobs/{job_id}/webhooks",
            &format!("/v1/jobs/{ID}/webhooks"),
        ),
        without_body(
            "redelivering webhooks of an unknown job",
            Method::POST,
            "/v1/jobs/{job_id}/webhooks",
            &format!("/v1/jobs/{ID}/webhooks"),
        ),
        without_body(
            "an unsigned report",
            Method::POST,
            "/v1/webhooks/replicate/{job_id}/{submission_id}",
            &format!("/v1/webhooks/replicate/{ID}/abc"),
        ),
        without_body("an unknown path", Method::GET, "", "/v2"),
        without_body(
            "a path below a job",
            Method::GET,
            "",
            &format!("/v1/jobs/{ID}/nothing"),
        ),
        without_body(
            "deleting a job",
            Method::DELETE,
            "",
            &format!("/v1/jobs/{ID}"),
        ),
        without_body("putting a job", Method::PUT, "", "/v1/jobs"),
        without_body(
            "an unknown method",
            Method::from_bytes(b"BREW").unwrap(),
            "",
            "/v1/jobs",
        ),
    ];
    let mut retry = without_body(
        "a retry with an unknown field",
        Method::POST,
        "/v1/jobs/{job_id}/retry",
        &format!("/v1/jobs/{ID}/retry"),
    );
    retry
        .headers
        .push(("content-type", "application/json".to_owned()));
    retry.body = Some(json!({"regenerat": true}).to_string());
    cases.push(retry);
    cases
}

#[tokio::test]
async fn bad_requests_have_exact_answers_and_start_nothing() {
    let api = Api::of(shared());
    let document = document::fetch(&api).await;
    let cases = cases();
    assert!(cases.len() >= 60);
    let mut answers = Vec::new();
    for Case {
        name,
        method,
        path,
        route,
        headers,
        body,
    } in cases
    {
        let mut request = api
            .http
            .request(method.clone(), format!("{}{path}", api.url))
            .header("X-Request-Id", "r-1");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if route.is_empty() {
            answers.push(format!("{name}\n{}\n", describe(answer).await.text));
        } else {
            let described = &document["paths"][route][method.as_str().to_lowercase()]["responses"]
                [answer.status().as_str()];
            let description = described["description"]
                .as_str()
                .unwrap_or_else(|| panic!("{name}: {}", answer.status()));
            let described = description.to_owned();
            let problem = describe(answer).await;
            let kind = problem.body["type"].as_str().unwrap();
            assert!(
                described.contains(&format!("`{kind}`")),
                "{name}: {kind} is not described"
            );
            answers.push(format!("{name}\n{}\n", problem.text));
        }
    }
    insta::assert_snapshot!(answers.join("\n"));
    let client = shared().temporal.client().await.unwrap();
    let started =
        client.list_workflows(format!("Model = '{MODEL}'"), WorkflowListOptions::default());
    assert_eq!(futures::StreamExt::count(started).await, 0);
}

/// An answer to a bad request.
struct Answer {
    /// Status, `Allow` header and body, as the snapshot holds them.
    text: String,
    body: Value,
}

async fn describe(response: Response) -> Answer {
    let status = response.status();
    assert_eq!(
        response.headers()[CONTENT_TYPE],
        "application/problem+json",
        "{status}"
    );
    assert_eq!(response.headers()["x-request-id"], "r-1");
    let allow = response
        .headers()
        .get("allow")
        .map(|allow| format!(" Allow: {}", allow.to_str().unwrap()));
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        (&body["status"], &body["request_id"]),
        (&json!(status.as_u16()), &json!("r-1"))
    );
    Answer {
        text: format!("{status}{}\n{body:#}", allow.unwrap_or_default()),
        body,
    }
}
