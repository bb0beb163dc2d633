//! What happens around every workflow and activity: a trace is handed on, and activities are counted.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use darkroom_telemetry::traces;
use temporalio_common::protos::temporal::api::common::v1::Payload;
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
use tokio::sync::Notify;
use tracing::{Instrument, Span, field::Empty};

/// Hands the trace of whoever started a workflow on to its activities and children, unread: nothing here may differ when the
/// workflow is replayed.
#[derive(Default)]
pub(crate) struct HandOn(RefCell<Option<Payload>>);

impl HandOn {
    fn to(&self, headers: &mut std::collections::HashMap<String, Payload>) {
        if let Some(payload) = &*self.0.borrow() {
            headers.insert(traces::HEADER.to_owned(), payload.clone());
        }
    }
}

impl WorkflowInterceptor for HandOn {
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
        self.0.replace(input.headers().get(traces::HEADER).cloned());
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
        self.to(input.headers_mut());
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
        self.to(input.headers_mut());
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
        self.to(input.headers_mut());
        next.run(input)
    }
}

/// Gives each attempt at an activity a span, which its lines in the log carry and a trace shows.
pub(crate) struct Spans;

impl ActivityInboundInterceptor for Spans {
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
        traces::continue_workflow(&span, input.headers().get(traces::HEADER));
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

/// Counts the activities of a worker and tells when there were as many as it should run.
pub(crate) struct Wear {
    left: AtomicU64,
    out: Notify,
}

impl Wear {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(most),
            out: Notify::new(),
        })
    }

    /// Returns when it is worn out.
    pub(crate) async fn out(&self) {
        self.out.notified().await;
    }
}

/// See [`Wear`].
pub(crate) struct Wearing(pub(crate) Arc<Wear>);

impl ActivityInboundInterceptor for Wearing {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        // It goes on below zero, unheard.
        if self.0.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.out.notify_one();
        }
        next.run(input)
    }
}
