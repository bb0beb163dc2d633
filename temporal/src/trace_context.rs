//! Trace context through Temporal. The client that starts a workflow puts it into a header, the
//! workflow passes the header on unread, and each attempt of an activity is a span below it.
//! Workflows have no spans: their history is their trace. The SDK's `OpenTelemetryPlugin` makes
//! spans of its own instead of those of `tracing`, which the log lines of an attempt belong to.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use futures::future::BoxFuture;
use opentelemetry::{Context, global};
use temporalio_client::{
    ClientInterceptor, Next as ClientNext, StartWorkflowInput, StartWorkflowOutput,
    errors::WorkflowStartError,
};
use temporalio_common::protos::temporal::api::common::v1::{Header, Payload};
use temporalio_sdk::{
    activities::ActivityError,
    interceptors::{ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, Next},
    workflow_interceptors::{
        CancellableWorkflowOutboundFuture, ExecuteWorkflowInput, ExecuteWorkflowResult,
        ScheduleActivityInput, ScheduleActivityResult, ScheduleLocalActivityInput,
        StartChildWorkflowInput, StartChildWorkflowResult, WorkflowInterceptor,
        WorkflowInterceptorContext, WorkflowInterceptorFuture, WorkflowNext,
    },
};
use tracing::{Instrument, Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Name of the header of workflows and activities that carries the trace context: a JSON object, as
/// Temporal's other SDKs write it.
const HEADER: &str = "_tracer-data";

/// Interceptor that puts the current trace context into the header of a workflow that is started.
pub(crate) fn client_interceptor() -> Arc<dyn ClientInterceptor> {
    Arc::new(InjectOnStart)
}

struct InjectOnStart;

impl ClientInterceptor for InjectOnStart {
    fn start_workflow<'a>(
        &'a self,
        mut input: StartWorkflowInput,
        next: ClientNext<
            'a,
            StartWorkflowInput,
            BoxFuture<'a, Result<StartWorkflowOutput, WorkflowStartError>>,
        >,
    ) -> BoxFuture<'a, Result<StartWorkflowOutput, WorkflowStartError>> {
        if let Some(payload) = current() {
            let header = input.options.header.get_or_insert_default();
            header.fields.insert(HEADER.to_owned(), payload);
        }
        next.run(input)
    }
}

/// Header that [`client_interceptor`] adds, for a start by a raw call.
pub(crate) fn header() -> Option<Header> {
    let fields = HashMap::from([(HEADER.to_owned(), current()?)]);
    Some(Header { fields })
}

/// Encodes the current trace context as a payload; `None` if there is none.
fn current() -> Option<Payload> {
    let mut fields = HashMap::<String, String>::new();
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut fields));
    if fields.is_empty() {
        return None;
    }
    Some(Payload {
        metadata: HashMap::from([("encoding".to_owned(), b"json/plain".to_vec())]),
        data: serde_json::to_vec(&fields).ok()?,
        ..Payload::default()
    })
}

/// Decodes the trace context of a header.
fn context_in(payload: Option<&Payload>) -> Option<Context> {
    let fields: HashMap<String, String> = serde_json::from_slice(&payload?.data).ok()?;
    Some(global::get_text_map_propagator(|propagator| {
        propagator.extract(&fields)
    }))
}

/// Passes the trace context of a workflow on to its activities and child workflows, unread: a
/// replay has to do exactly the same.
#[derive(Default)]
pub struct TraceContextPropagator(RefCell<Option<Payload>>);

impl TraceContextPropagator {
    fn inject(&self, headers: &mut HashMap<String, Payload>) {
        if let Some(payload) = &*self.0.borrow() {
            headers.insert(HEADER.to_owned(), payload.clone());
        }
    }
}

impl WorkflowInterceptor for TraceContextPropagator {
    fn execute<'a>(
        &'a self,
        _ctx: WorkflowInterceptorContext,
        input: ExecuteWorkflowInput,
        next: WorkflowNext<
            'a,
            ExecuteWorkflowInput,
            WorkflowInterceptorFuture<'a, ExecuteWorkflowResult>,
        >,
    ) -> WorkflowInterceptorFuture<'a, ExecuteWorkflowResult> {
        self.0.replace(input.headers().get(HEADER).cloned());
        next.run(input)
    }

    fn schedule_activity(
        &self,
        _ctx: WorkflowInterceptorContext,
        mut input: ScheduleActivityInput,
        next: WorkflowNext<
            'static,
            ScheduleActivityInput,
            CancellableWorkflowOutboundFuture<ScheduleActivityResult>,
        >,
    ) -> CancellableWorkflowOutboundFuture<ScheduleActivityResult> {
        self.inject(input.headers_mut());
        next.run(input)
    }

    fn schedule_local_activity(
        &self,
        _ctx: WorkflowInterceptorContext,
        mut input: ScheduleLocalActivityInput,
        next: WorkflowNext<
            'static,
            ScheduleLocalActivityInput,
            CancellableWorkflowOutboundFuture<ScheduleActivityResult>,
        >,
    ) -> CancellableWorkflowOutboundFuture<ScheduleActivityResult> {
        self.inject(input.headers_mut());
        next.run(input)
    }

    fn start_child_workflow(
        &self,
        _ctx: WorkflowInterceptorContext,
        mut input: StartChildWorkflowInput,
        next: WorkflowNext<
            'static,
            StartChildWorkflowInput,
            CancellableWorkflowOutboundFuture<StartChildWorkflowResult>,
        >,
    ) -> CancellableWorkflowOutboundFuture<StartChildWorkflowResult> {
        self.inject(input.headers_mut());
        next.run(input)
    }
}

/// Creates a span for each attempt of an activity, for its log lines and for the trace.
pub struct ActivitySpans;

impl ActivityInboundInterceptor for ActivitySpans {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        let info = input.activity_info();
        let span = tracing::info_span!(
            "activity",
            otel.name = info.activity_type,
            otel.kind = "consumer",
            otel.status_code = Empty,
            activity = info.activity_type,
            job_id = info.workflow_id.as_deref(),
            run_id = info.workflow_run_id.as_deref(),
            attempt = info.attempt,
        );
        if let Some(context) = context_in(input.headers().get(HEADER)) {
            // Ignored: it fails if no traces are exported.
            let _ = span.set_parent(context);
        }
        let work = async move {
            let result = next.run(input).await;
            if matches!(&result, Err(error) if !matches!(error, ActivityError::Cancelled { .. })) {
                Span::current().record("otel.status_code", "ERROR");
            }
            result
        };
        Box::pin(work.instrument(span))
    }
}
