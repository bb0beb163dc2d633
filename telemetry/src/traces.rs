//! OpenTelemetry traces, if `OTEL_*` says where to. A trace goes from a request through Temporal,
//! which `darkroom-temporal` sees to, to the activities.

use std::env;

use anyhow::{Context as _, Result, ensure};
use http::HeaderMap;
use opentelemetry::{global, propagation::Extractor, trace::TracerProvider};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Span, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry, filter::Targets};

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

/// Makes a span part of the trace that a caller's `traceparent` names, if there is one. Before the
/// span is entered.
pub fn continue_request(span: &Span, headers: &HeaderMap) {
    let context =
        global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    // Without an exporter there is nothing to be part of.
    let _ = span.set_parent(context);
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
