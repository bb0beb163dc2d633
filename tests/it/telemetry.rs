//! Telemetry: traces from a request to the activities, and logs without prompts.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use darkroom_dev::Options;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value, trace::v1::Span,
};
use poem::{Body, EndpointExt, Route, Server, handler, listener::TcpAcceptor, post, web::Data};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::harness::{Api, job, job_in, options, start, until};

/// Spans with the names of their services.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

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
        spans
            .lock()
            .unwrap()
            .extend(all.map(|span| (service.clone(), span)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_leads_from_the_request_to_the_activities() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const CALLER: &str = "00f067aa0ba902b7";
    let (url, spans) = collector().await;
    let variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
    ];
    let stack = start(&Options {
        variables,
        ..options("traces")
    })
    .await;
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

    let expected = [
        ("darkroom-api", "POST /v1/jobs", 1),
        ("darkroom-worker", "finalize", 1),
        ("darkroom-worker", "generate", 1),
        ("darkroom-worker", "persist", 2),
    ];
    let of_trace = until("the spans of a job", async || {
        let spans = spans.lock().unwrap().clone();
        let of_trace: Vec<_> = spans
            .into_iter()
            .filter(|(_, span)| hex::encode(&span.trace_id) == TRACE)
            .collect();
        let mut names = BTreeMap::new();
        for (service, span) in &of_trace {
            *names
                .entry((service.as_str(), span.name.as_str()))
                .or_insert(0) += 1;
        }
        let has_all = expected
            .iter()
            .all(|(service, name, count)| names.get(&(*service, *name)) == Some(count));
        has_all.then_some(of_trace)
    })
    .await;
    let request = &of_trace
        .iter()
        .find(|(_, span)| span.name == "POST /v1/jobs")
        .unwrap()
        .1;
    assert_eq!(hex::encode(&request.parent_span_id), CALLER);
    for (_, activity) in of_trace
        .iter()
        .filter(|(service, _)| service == "darkroom-worker")
    {
        assert_eq!(
            activity.parent_span_id, request.span_id,
            "{} is below the request",
            activity.name
        );
    }
}

#[tokio::test]
async fn logs_name_jobs_and_requests_and_hold_no_prompt_unless_asked() {
    const PROMPT: &str = "a heron at the edge of the reeds";
    for (filter, is_asked_for) in [("info", false), ("info,darkroom_prompts=trace", true)] {
        let variables = vec![("RUST_LOG", filter.to_owned())];
        let options = Options {
            variables,
            ..options("logs")
        };
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

        let [of_api, of_worker] = ["api", "worker"].map(|name| {
            fs::read_to_string(options.directory.join(format!("logs/{name}.log"))).unwrap()
        });
        assert_eq!(of_api.contains(PROMPT), is_asked_for, "{filter}");
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
