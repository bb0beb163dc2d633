//! OpenTelemetry traces, if `OTEL_*` says where to. A trace goes from a request through Temporal to the activities: the client
//! puts the context of the request into a header of the workflow, which hands it on unread, and each attempt at an activity is
//! a span below it. Workflows have no spans of their own: they live in Temporal, whose history is their trace.

use std::{collections::HashMap, env, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use futures::future::BoxFuture;
use http::HeaderMap;
use opentelemetry::{Context, global, propagation::Extractor, trace::TracerProvider};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use temporalio_client::{
    ClientInterceptor, Next, StartWorkflowInput, StartWorkflowOutput, errors::WorkflowStartError,
};
use temporalio_common::protos::temporal::api::common::v1::{Header, Payload};
use tracing::{Span, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry, filter::Targets};

/// The header of workflows and activities that carries a trace: a JSON object, as Temporal's other SDKs write it.
pub const HEADER: &str = "_tracer-data";

/// Sends spans.
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    pub(crate) fn from_env(service: &'static str) -> Result<Option<Self>> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let is_off = set("OTEL_SDK_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").as_deref() == Some("none");
        let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
        if endpoint.is_none() || is_off {
            return Ok(None);
        }
        let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
        ensure!(
            protocol
                .as_deref()
                .is_none_or(|protocol| protocol == "http/protobuf"),
            "OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is spoken; point OTEL_EXPORTER_OTLP_ENDPOINT at the collector's \
             port for it, such as http://127.0.0.1:4318"
        );
        let mut resource = Resource::builder();
        let is_named = set("OTEL_SERVICE_NAME").is_some()
            || set("OTEL_RESOURCE_ATTRIBUTES")
                .is_some_and(|attributes| attributes.contains("service.name="));
        if !is_named {
            resource = resource.with_service_name(service);
        }
        let spans = SpanExporter::builder()
            .with_http()
            .build()
            .context("cannot set up traces (OTEL_EXPORTER_OTLP_*)")?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(spans)
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Some(Self(provider)))
    }

    /// Our own spans: those of the SDK would be traces of their own.
    pub(crate) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let ours = Targets::new().with_target("darkroom", LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("darkroom"))
            .with_filter(ours)
            .boxed()
    }

    pub(crate) fn flush(&self) {
        // There is nobody left to tell of an error.
        let _ = self.0.shutdown();
    }
}

/// Makes a span part of the trace that a caller's `traceparent` names, if there is one. Before the span is entered.
pub fn continue_request(span: &Span, headers: &HeaderMap) {
    let context =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    // Without an exporter there is nothing to be part of.
    let _ = span.set_parent(context);
}

/// Makes a span part of the trace that a header of Temporal's carries, if it does. Before the span is entered.
pub fn continue_workflow(span: &Span, carried: Option<&Payload>) {
    let fields = carried
        .and_then(|payload| serde_json::from_slice::<HashMap<String, String>>(&payload.data).ok());
    if let Some(fields) = fields {
        let context = global::get_text_map_propagator(|propagator| propagator.extract(&fields));
        let _ = span.set_parent(context);
    }
}

/// What puts the trace of whoever starts a workflow into its headers.
#[must_use]
pub fn on_start() -> Arc<dyn ClientInterceptor> {
    Arc::new(Carrying)
}

struct Carrying;

impl ClientInterceptor for Carrying {
    fn start_workflow<'a>(
        &'a self,
        mut input: StartWorkflowInput,
        next: Next<
            'a,
            StartWorkflowInput,
            BoxFuture<'a, Result<StartWorkflowOutput, WorkflowStartError>>,
        >,
    ) -> BoxFuture<'a, Result<StartWorkflowOutput, WorkflowStartError>> {
        if let Some(payload) = carried(&Span::current().context()) {
            input
                .options
                .header
                .get_or_insert_default()
                .fields
                .insert(HEADER.to_owned(), payload);
        }
        next.run(input)
    }
}

/// The header that the interceptor of [`on_start`] adds, for whoever starts a workflow past it.
#[must_use]
pub fn header() -> Option<Header> {
    let payload = carried(&Span::current().context())?;
    Some(Header {
        fields: HashMap::from([(HEADER.to_owned(), payload)]),
    })
}

fn carried(context: &Context) -> Option<Payload> {
    let mut fields = HashMap::<String, String>::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(context, &mut fields));
    if fields.is_empty() {
        return None;
    }
    let metadata = HashMap::from([("encoding".to_owned(), b"json/plain".to_vec())]);
    Some(Payload {
        metadata,
        data: serde_json::to_vec(&fields).ok()?,
        ..Default::default()
    })
}

/// The headers of a request, as a propagator reads them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
