//! Telemetry: traces from a request to the activities, and logs without prompts.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::Span,
};
use poem::{Body, EndpointExt, Route, Server, handler, listener::TcpAcceptor, post, web::Data};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    api::{Api, job_in},
    harness::{job, options_with, start, until},
    processes::log_of,
};

/// A span with the name of the service that exported it.
#[derive(Clone)]
struct ExportedSpan {
    service: String,
    span: Span,
}

/// Spans that the collector has received.
type Spans = Arc<Mutex<Vec<ExportedSpan>>>;

/// Expected number of spans with a name in a trace.
struct ExpectedSpans {
    service: &'static str,
    name: &'static str,
    count: usize,
}

/// Starts a receiver of traces that acts as an OpenTelemetry collector, and returns its URL:
/// <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.
async fn collector() -> (String, Spans) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let spans = Spans::default();
    let route = Route::new()
        .at("/v1/traces", post(collect))
        .data(Arc::clone(&spans));
    let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
    tokio::spawn(async move { Server::new_with_acceptor(acceptor).run(route).await });
    (url, spans)
}

#[handler]
async fn collect(Data(spans): Data<&Spans>, body: Body) {
    let request = ExportTraceServiceRequest::decode(body.into_bytes().await.unwrap()).unwrap();
    for of_resource in request.resource_spans {
        let attributes = of_resource.resource.unwrap().attributes;
        let service = attributes
            .into_iter()
            .find(|attribute| attribute.key == "service.name")
            .unwrap();
        let Some(any_value::Value::StringValue(service)) = service.value.unwrap().value else {
            panic!("no name")
        };
        let all = of_resource
            .scope_spans
            .into_iter()
            .flat_map(|of_scope| of_scope.spans);
        spans.lock().unwrap().extend(all.map(|span| ExportedSpan {
            service: service.clone(),
            span,
        }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_leads_from_the_request_to_the_activities() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const CALLER: &str = "00f067aa0ba902b7";
    let (url, spans) = collector().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    let stack = start(&options_with("traces", &variables)).await;
    let api = Api::of(&stack);
    let request = api
        .http
        .post(format!("{}/v1/jobs", api.url))
        .json(&job(2, json!({"webhooks": 0})));
    let accepted = request
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .send()
        .await
        .unwrap();
    let accepted = job_in(accepted).await;
    api.ended(&accepted.job_id).await;

    let activity = |name, count| ExpectedSpans {
        service: "darkroom-worker",
        name,
        count,
    };
    let expected = [
        ExpectedSpans {
            service: "darkroom-api",
            name: "POST /v1/jobs",
            count: 1,
        },
        activity("finalize", 1),
        activity("generate", 1),
        activity("persist", 2),
    ];
    let of_trace = until("the spans of a job", async || {
        let spans = spans.lock().unwrap().clone();
        let of_trace: Vec<_> = spans
            .into_iter()
            .filter(|exported| hex::encode(&exported.span.trace_id) == TRACE)
            .collect();
        let has_all = expected.iter().all(|expected| {
            let found = of_trace.iter().filter(|exported| {
                exported.service == expected.service && exported.span.name == expected.name
            });
            found.count() == expected.count
        });
        has_all.then_some(of_trace)
    })
    .await;
    let request = of_trace
        .iter()
        .find(|exported| exported.span.name == "POST /v1/jobs");
    let request = &request.unwrap().span;
    assert_eq!(hex::encode(&request.parent_span_id), CALLER);
    for ExportedSpan { service, span } in &of_trace {
        if service == "darkroom-worker" {
            assert_eq!(
                span.parent_span_id, request.span_id,
                "{} is below the request",
                span.name
            );
        }
    }
}

#[tokio::test]
async fn logs_name_jobs_and_requests_and_hold_no_prompt_unless_asked() {
    const PROMPT: &str = "a heron at the edge of the reeds";
    for (filter, logs_prompt) in [("info", false), ("info,darkroom_prompts=trace", true)] {
        let options = options_with("logs", &[("RUST_LOG", filter)]);
        let stack = start(&options).await;
        let api = Api::of(&stack);
        let mut body = job(2, json!({"missing": [1]}));
        body["prompt"] = PROMPT.into();
        let accepted = api
            .http
            .post(format!("{}/v1/jobs", api.url))
            .json(&body)
            .header("X-Request-Id", "heron-1");
        let accepted = job_in(accepted.send().await.unwrap()).await;
        let id = &accepted.job_id.to_string();
        api.ended(&accepted.job_id).await;
        drop(stack);

        let [of_api, of_worker] = ["api", "worker"].map(|name| log_of(&options.directory, name));
        assert_eq!(of_api.contains(PROMPT), logs_prompt, "{filter}");
        assert!(!of_worker.contains(PROMPT), "{filter}");
        let find = |log: &str, message: &str| -> Value {
            let lines = log
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines
                .into_iter()
                .find(|line| line["message"] == message)
                .unwrap_or_else(|| panic!("no {message:?} in {log}"))
        };
        let line = find(&of_api, "job accepted");
        assert_eq!(
            (&line["job_id"], &line["span"]["request_id"]),
            (&json!(id), &json!("heron-1"))
        );
        for message in ["attempt failed", "manifest written"] {
            assert_eq!(
                find(&of_worker, message)["span"]["job_id"],
                *id,
                "{message}"
            );
        }
    }
}
