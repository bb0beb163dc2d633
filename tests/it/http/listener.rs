//! The listener: slow clients, the header timeout, the idle timeout, malformed requests, HTTP/2,
//! and draining of connections during a graceful shutdown.

use std::time::{Duration, Instant};

use darkroom_client::types::{resource::Job, status::Stage};
use futures::future::join_all;
use reqwest::{Client, StatusCode, Version};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    api::Api,
    harness::{DEADLINE, assert_prompt, job, options, shared, start, until},
    processes::{start_api, terminate, until_exited},
};

/// Connects to the api and sends these bytes.
async fn connect(api: &Api, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(api.url.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    stream.write_all(sent).await.unwrap();
    stream
}

/// Waits until the api closes a connection, and returns the bytes that it sent.
async fn until_closed(mut stream: TcpStream) -> Vec<u8> {
    let (mut received, port) = (Vec::new(), stream.local_addr().unwrap().port());
    // A connection reset counts as closed, too.
    let closed = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut received)).await;
    assert!(
        closed.is_ok(),
        "the connection from port {port} is still open, which received {received:?}"
    );
    received
}

#[tokio::test]
async fn slow_clients_are_disconnected_and_delay_no_other() {
    let api = Api::of(shared());
    let beginnings: [&[u8]; 5] = [
        b"",
        b"G",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let slow_clients = join_all((0..500).map(|number| connect(&api, beginnings[number % 5]))).await;
    for _ in 0..50 {
        let answer = api.get_path("/healthz").await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    join_all(slow_clients.into_iter().map(until_closed)).await;
}

#[tokio::test]
async fn the_idle_timeout_is_longer_than_the_header_timeout() {
    const IDLE: Duration = Duration::from_secs(12);
    let api = Api::of(shared());
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = connect(&api, request).await;
    let mut answer = [0; 2048];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    // A fixed wait, because the idle time itself is tested.
    tokio::time::sleep(IDLE).await;
    stream.write_all(request).await.unwrap();
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    stream.write_all(b"GET /healthz HT").await.unwrap();
    until_closed(stream).await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let api = Api::of(shared());
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"model\":";
    let mut stream = connect(&api, head.as_bytes()).await;
    let mut answer = [0; 1024];
    let length = tokio::time::timeout(DEADLINE, stream.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        answer.contains("urn:darkroom:problem:request-timeout"),
        "{answer}"
    );
}

#[tokio::test]
async fn malformed_http_is_refused() {
    let api = Api::of(shared());
    let header = format!(
        "GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X-Many: a\r\n".repeat(100)
    );
    for request in [
        "\0\x01\x02\x03\r\n\r\n".as_bytes(),
        b"GET /healthz HTTP/9.9\r\n\r\n",
        header.as_bytes(),
    ] {
        let answer = until_closed(connect(&api, request).await).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn http2_is_spoken_without_tls() {
    let api = Api::of(shared());
    let http = Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let answers = join_all((0..20).map(|_| http.get(format!("{}/healthz", api.url)).send())).await;
    for answer in answers {
        assert_eq!(answer.unwrap().version(), Version::HTTP_2);
    }
}

#[tokio::test]
async fn requests_under_way_are_answered_when_the_api_stops() {
    let mut stack = start(&options("drain")).await;
    let api = Api::of(&stack);
    let id = api.accepted(&job(1, json!({"latency_ms": 60_000}))).await;
    let etag = until("a job that is generating", async || {
        let read = api.get_path(&format!("/v1/jobs/{id}")).await;
        let etag = read.headers()["etag"].clone();
        let job: Job = read.json().await.unwrap();
        (job.stage == Some(Stage::Generating)).then_some(etag)
    })
    .await;
    let read = api
        .http
        .get(format!("{}/v1/jobs/{id}", api.url))
        .header("Prefer", "wait=60");
    let waiting = tokio::spawn(read.header("If-None-Match", etag).send());
    api.until_followed_by(1).await;
    let began = Instant::now();
    terminate(&stack.api);
    if let Ok(answer) = waiting.await.unwrap() {
        assert_eq!(
            answer.status(),
            StatusCode::NOT_MODIFIED,
            "nothing has changed, and that is an answer"
        );
    }
    until_exited(&stack.api).await;
    assert_prompt("stopping", began.elapsed(), Duration::from_secs(25));
    start_api(&mut stack).await;
    assert_eq!(api.get(&id).await.stage, Some(Stage::Generating));
}
