//! Limits of callers without an API key, by IP address: requests, connections, request bodies under
//! way, and responses that are not read.

use std::time::Duration;

use darkroom_dev::Stack;
use futures::{StreamExt, future::join_all, stream};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    api::{Api, Problem},
    harness::{job, options_with, start, until, until_within},
};

async fn start_with(name: &str, variables: &[(&'static str, &str)]) -> (Stack, Api) {
    let stack = start(&options_with(name, variables)).await;
    let api = Api::of(&stack);
    (stack, api)
}

async fn get(api: &Api, path: &str, forwarded_for: Option<&str>) -> Response {
    let mut request = api.http.get(format!("{}{path}", api.url));
    if let Some(address) = forwarded_for {
        request = request.header("X-Forwarded-For", address);
    }
    request.send().await.unwrap()
}

/// Sends twenty concurrent requests and returns how many were not rate limited.
async fn admitted(api: &Api, path: &str, forwarded_for: Option<&str>) -> usize {
    let answers = join_all((0..20).map(|_| get(api, path, forwarded_for))).await;
    let mut admitted = 0;
    for answer in answers {
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers().contains_key("retry-after"));
            assert_eq!(Problem::of(answer).await.kind, "rate-limited");
        } else {
            admitted += 1;
        }
    }
    admitted
}

#[tokio::test]
async fn requests_without_a_key_are_limited_per_address() {
    let limit = ("DARKROOM_REQUESTS_PER_SECOND", "5");
    let (stack, api) = start_with("peers", &[limit]).await;
    assert_eq!(
        admitted(&api, "/readyz", None).await,
        20,
        "this machine is trusted"
    );
    for path in ["/readyz", "/docs/", "/openapi.json", "/v1/jobs/x"] {
        let address = format!("198.51.100.{}", path.len());
        let spoofed = format!("203.0.113.9, {address}");
        let mine = admitted(&api, path, Some(&spoofed)).await;
        assert!((5..15).contains(&mine), "{path}: {mine}");
        let other = get(&api, path, Some("198.51.100.99")).await;
        assert_ne!(other.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
    drop(stack);

    // `X-Forwarded-For` of an address that is not a trusted proxy is ignored.
    let no_proxies = ("DARKROOM_TRUSTED_PROXIES", "none");
    let (_stack, api) = start_with("peers-distrusted", &[limit, no_proxies]).await;
    let requests = (0..20).map(|number| {
        let address = format!("198.51.100.{number}");
        let api = &api;
        async move { get(api, "/healthz", Some(&address)).await.status() }
    });
    let statuses = join_all(requests).await;
    assert!(
        statuses.contains(&StatusCode::TOO_MANY_REQUESTS),
        "{statuses:?}"
    );
}

/// A client opens no window for the responses that it requests, or one of a byte, for which Hyper
/// hands over all of a response.
#[tokio::test]
async fn responses_that_are_not_read_are_limited_per_address() {
    let (_stack, api) = start_with("peers-responses", &[]).await;
    for window in [0, 1] {
        let client = Client::builder()
            .no_proxy()
            .http2_prior_knowledge()
            .http2_initial_stream_window_size(window);
        assert_limit_of_unread(&api, &client.build().unwrap()).await;
    }
}

async fn assert_limit_of_unread(api: &Api, client: &Client) {
    let request = async |client: &Client, address| {
        let bundle = format!("{}/docs/swagger-ui-bundle.js", api.url);
        let request = client.get(bundle).header("X-Forwarded-For", address);
        request.send().await.unwrap()
    };
    let (mine, others) = ("198.51.100.1", "198.51.100.2");
    let mut unread = Vec::new();
    let refused = loop {
        let answer = request(client, mine).await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        unread.push(answer);
        assert!(unread.len() < 30, "no response is refused");
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    // The limit is 16 MiB, and the file has 1.5 MB.
    assert!(unread.len() >= 10, "{}", unread.len());
    assert_eq!(request(client, others).await.status(), StatusCode::OK);
    let refused = request(&api.http, mine).await;
    assert_eq!(Problem::of(refused).await.kind, "rate-limited");
    drop(unread);
    until("room for a response", async || {
        let answer = request(&api.http, mine).await;
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_and_bodies_are_limited_per_address() {
    let variables = [
        ("DARKROOM_TRUSTED_PROXIES", "none"),
        ("DARKROOM_CONNECTIONS", "320"),
        ("DARKROOM_REQUESTS_PER_SECOND", "10000"),
    ];
    let (_stack, api) = start_with("peers-connections", &variables).await;
    let address = api.url.strip_prefix("http://").unwrap();
    let connect = async || TcpStream::connect(address).await.unwrap();
    // An address may hold an eighth of the 320 connections, which is forty; the stack itself holds
    // some of them.
    let held: Vec<_> = stream::iter(0..40).then(|_| connect()).collect().await;
    let mut refused = connect().await;
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    drop(held);
    until("a connection", async || {
        let answer = api.http.get(format!("{}/healthz", api.url)).send().await;
        answer
            .is_ok_and(|answer| answer.status() == StatusCode::OK)
            .then_some(())
    })
    .await;

    // An address may have sixteen bodies under way. These do not end.
    let part = "x".repeat(1_048_000);
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n{part}"
    );
    let mut bodies: Vec<_> = stream::iter(0..16).then(|_| connect()).collect().await;
    for body in &mut bodies {
        body.write_all(head.as_bytes()).await.unwrap();
    }
    until("bodies that are refused", async || {
        let refused = api
            .post(&job(1, json!({"filler": "x".repeat(40_000)})))
            .await;
        (refused.status() == StatusCode::TOO_MANY_REQUESTS).then_some(())
    })
    .await;
    drop(bodies);
    until_within("room for a body", Duration::from_secs(20), async || {
        let status = api.post(&job(1, json!({}))).await.status();
        (status == StatusCode::ACCEPTED).then_some(())
    })
    .await;
}
