//! Access of tenants: jobs of other tenants return 404, requests and open jobs are limited per
//! tenant, and browsers may call from configured origins only.

use darkroom_client::types::{resource::Job, status::JobStatus};
use darkroom_dev::Stack;
use futures::future::join_all;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use temporalio_client::WorkflowDescribeOptions;

use crate::support::{
    api::{Api, Problem},
    harness::{api_key_entry, job, options_with, shared, start, until},
    workflows::workflow_handle,
};

pub(super) const ACME: &str = "dk_acme_4f1c";
const ACME_TOO: &str = "dk_acme_77b0";
pub(super) const OTHER: &str = "dk_other_9a7e";

/// Starts a stack with keys of two tenants and these variables.
pub(super) async fn start_with_keys(
    name: &str,
    variables: &[(&'static str, &str)],
) -> (Stack, Api) {
    let keys = [
        api_key_entry("acme", ACME),
        api_key_entry("acme", ACME_TOO),
        api_key_entry("other", OTHER),
    ]
    .join(",");
    let mut options = options_with(name, variables);
    options.variables.push(("DARKROOM_API_KEYS", keys));
    let stack = start(&options).await;
    let api = Api::of(&stack);
    (stack, api)
}

pub(super) fn call(api: &Api, method: Method, path: &str, key: &str) -> RequestBuilder {
    api.http
        .request(method, format!("{}{path}", api.url))
        .bearer_auth(key)
}

async fn body(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn without_keys_other_names_of_this_machine_are_refused() {
    let api = Api::of(shared());
    let read = async |host: &str| {
        let request = api.http.get(format!("{}/v1/jobs", api.url));
        request.header("Host", host).send().await.unwrap()
    };
    for host in ["localhost:8080", "127.0.0.1", "[::1]:1"] {
        assert_eq!(read(host).await.status(), StatusCode::OK, "{host}");
    }
    let refused = read("rebound.example").await;
    let expected = Problem::new(StatusCode::FORBIDDEN, "forbidden");
    assert_eq!(Problem::of(refused).await, expected);
}

#[tokio::test]
async fn jobs_of_other_tenants_return_404() {
    let (stack, api) = start_with_keys("access-tenants", &[]).await;
    let created = call(&api, Method::POST, "/v1/jobs", ACME)
        .header("X-Request-Id", "order-1042")
        .json(&job(1, json!({})));
    let created = created.send().await.unwrap();
    assert_eq!(
        (
            created.status(),
            created.headers()["x-request-id"].to_str().unwrap()
        ),
        (StatusCode::ACCEPTED, "order-1042")
    );
    let id = created.json::<Job>().await.unwrap().job_id;
    let acme = Api::with_key(api.url.clone(), ACME);
    let other = Api::with_key(api.url.clone(), OTHER);
    assert_eq!(acme.ended(&id).await.status, JobStatus::Completed);

    for (method, path) in [
        (Method::GET, String::new()),
        (Method::GET, "/events".to_owned()),
        (Method::GET, "/media/0".to_owned()),
        (Method::GET, "/webhooks".to_owned()),
        (Method::POST, "/webhooks".to_owned()),
        (Method::POST, "/cancel".to_owned()),
        (Method::POST, "/retry".to_owned()),
    ] {
        let path = format!("/v1/jobs/{id}{path}");
        let (status, problem) = body(call(&api, method.clone(), &path, OTHER)).await;
        assert_eq!(
            (status, &problem["type"]),
            (
                StatusCode::NOT_FOUND,
                &json!("urn:darkroom:problem:not-found")
            ),
            "{method} {path}"
        );
        let missing = format!(
            "/v1/jobs/01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1{}",
            &path[8 + 37..]
        );
        let (_, unknown) = body(call(&api, method.clone(), &missing, OTHER)).await;
        assert_eq!(
            problem["detail"], unknown["detail"],
            "a job of another tenant and a missing one have the same answer"
        );
        for key in ["", "wrong", &hex::encode(Sha256::digest(ACME))] {
            let refused = call(&api, method.clone(), &path, key).send().await.unwrap();
            assert_eq!(
                (
                    refused.status(),
                    refused.headers()["www-authenticate"].to_str().unwrap()
                ),
                (StatusCode::UNAUTHORIZED, "Bearer")
            );
        }
    }
    until("a job in the list", async || {
        (acme.list().await.len() == 1).then_some(())
    })
    .await;
    assert!(other.list().await.is_empty());
    let secret = acme.client.webhook_secret().await.unwrap().key;
    assert!(secret.starts_with("whsec_"));
    assert_ne!(secret, other.client.webhook_secret().await.unwrap().key);

    // The same idempotency key creates one job per tenant.
    let keyed = |key| {
        call(&api, Method::POST, "/v1/jobs", key)
            .header("Idempotency-Key", "k")
            .json(&job(1, json!({})))
    };
    let (_, of_acme) = body(keyed(ACME)).await;
    let (_, of_other) = body(keyed(OTHER)).await;
    assert_ne!(of_acme["job_id"], of_other["job_id"]);

    let handle = workflow_handle(&stack, &id).await;
    let description = handle
        .describe(WorkflowDescribeOptions::default())
        .await
        .unwrap();
    assert_eq!(
        description
            .memo()
            .get::<String>("request_id")
            .unwrap()
            .as_deref(),
        Some("order-1042")
    );
}

#[tokio::test]
async fn requests_and_open_jobs_are_limited_per_tenant() {
    let (_stack, api) = start_with_keys(
        "access-limits",
        &[
            ("DARKROOM_REQUESTS_PER_SECOND", "5"),
            ("DARKROOM_OPEN_JOBS", "2"),
        ],
    )
    .await;
    // The tenant uses both of its keys in turn.
    let mut limited = None;
    let keys = [ACME, ACME_TOO].into_iter().cycle();
    for (number, key) in (0..50).zip(keys) {
        let response = call(&api, Method::GET, "/v1/webhooks/secret", key)
            .send()
            .await
            .unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(number < 10, "{number} requests, of two keys with five each");
            limited = Some(response);
            break;
        }
    }
    let limited = limited.expect("a limit");
    assert_eq!(limited.headers()["retry-after"], "1");
    assert_eq!(
        limited.json::<Value>().await.unwrap()["type"],
        "urn:darkroom:problem:rate-limited"
    );

    // A header without a key does not evade the limit of requests without one.
    let strange = (0..20).map(|_| {
        api.http
            .get(format!("{}/v1/jobs/x", api.url))
            .header("Authorization", "x")
            .header("X-Forwarded-For", "198.51.100.7")
            .send()
    });
    let statuses = join_all(strange).await;
    let is_limited = |answer: &reqwest::Result<Response>| {
        answer.as_ref().unwrap().status() == StatusCode::TOO_MANY_REQUESTS
    };
    assert!(statuses.iter().any(is_limited), "{statuses:?}");

    // The other tenant has a limit of its own.
    let other = Api::with_key(api.url.clone(), OTHER);
    let slow = job(1, json!({"latency_ms": 60_000}));
    let first = other.accepted(&slow).await;
    other.accepted(&slow).await;
    assert_eq!(
        Problem::of(other.post(&slow).await).await,
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-open-jobs")
    );
    let canceled = other.act(&first, "cancel").await;
    assert_eq!(canceled.status(), StatusCode::ACCEPTED);
    until("room for another job", async || {
        let status = other.post(&slow).await.status();
        (status == StatusCode::ACCEPTED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn configured_origins_may_call_and_answers_have_security_headers() {
    let (_stack, api) = start_with_keys(
        "origins",
        &[("DARKROOM_CORS_ORIGINS", "https://app.example.com")],
    )
    .await;
    let preflight = |origin: &str| {
        let request = api
            .http
            .request(Method::OPTIONS, format!("{}/v1/jobs", api.url))
            .header("Origin", origin);
        let request = request.header("Access-Control-Request-Method", "POST");
        request
            .header(
                "Access-Control-Request-Headers",
                "authorization, idempotency-key",
            )
            .send()
    };
    let allowed = preflight("https://app.example.com").await.unwrap();
    assert_eq!(
        allowed.headers()["access-control-allow-origin"],
        "https://app.example.com"
    );
    for origin in [
        "https://evil.example.com",
        "null",
        "https://app.example.com.evil.example",
    ] {
        let refused = preflight(origin).await.unwrap();
        assert!(
            !refused
                .headers()
                .contains_key("access-control-allow-origin"),
            "{origin}"
        );
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{origin}");
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["type"], "urn:darkroom:problem:origin-not-allowed");
    }
    let answer = call(&api, Method::GET, "/v1/jobs/nothing", ACME)
        .header("Origin", "https://app.example.com")
        .send()
        .await
        .unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        header("access-control-allow-origin"),
        "https://app.example.com"
    );
    assert!(header("access-control-expose-headers").contains("retry-after"));
    assert_eq!(
        (header("x-content-type-options"), header("referrer-policy")),
        ("nosniff", "no-referrer")
    );
    assert_eq!(header("cache-control"), "private, no-cache");
    assert_eq!(
        header("content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'"
    );

    // The api's own page, under a name that is not the public one.
    let own = call(&api, Method::GET, "/v1/jobs/nothing", ACME)
        .header("Host", "darkroom.internal")
        .header("Origin", "https://darkroom.internal")
        .send()
        .await
        .unwrap();
    assert_eq!(own.status(), StatusCode::NOT_FOUND);

    let malformed = call(&api, Method::GET, "/healthz", ACME)
        .header("Origin", b"\xff\xfe".as_slice())
        .send()
        .await
        .unwrap();
    assert!(
        malformed.status().is_success() || malformed.status().is_client_error(),
        "{}",
        malformed.status()
    );
    for id in ["", "a b", "é", &"a".repeat(129)] {
        let answer = call(&api, Method::GET, "/healthz", ACME)
            .header("X-Request-Id", id)
            .send()
            .await
            .unwrap();
        assert_ne!(
            answer.headers()["x-request-id"],
            id,
            "an id that is not fit is not repeated"
        );
    }
}
