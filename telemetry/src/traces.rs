//! Export of OpenTelemetry traces, if `OTEL_*` configures an endpoint. A trace spans a request and
//! the activities of its job; `darkroom-temporal` propagates it through Temporal.

use std::env;

use anyhow::{Context as _, Result, ensure};
use http::HeaderMap;
use opentelemetry::{global, propagation::Extractor, trace::TracerProvider};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Span, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry, filter::Targets};

/// Exporter of spans.
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
            "OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is supported; point OTEL_EXPORTER_OTLP_ENDPOINT at the collector's \
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

    /// Returns the layer that exports Darkroom's spans. Spans of the SDK would be separate traces.
    pub(crate) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let ours = Targets::new().with_target("darkroom", LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("darkroom"))
            .with_filter(ours)
            .boxed()
    }

    pub(crate) fn flush(&self) {
        // Ignored: the process is about to exit.
        let _ = self.0.shutdown();
    }
}

/// Makes a span part of the trace in the caller's `traceparent` header, if there is one. Call it
/// before the span is entered.
pub fn continue_request(span: &Span, headers: &HeaderMap) {
    let context =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    // Ignored: it fails if no traces are exported.
    let _ = span.set_parent(context);
}

/// Headers of a request, as the propagator's carrier.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
