//! What a query must not leave behind in a worker.
//!
//! A worker that is asked about a workflow which is not in its cache is sent all that has happened, also what no workflow task has
//! told of yet. The SDK shows that to the workflow, and keeps what it wants done about it. Whoever replays the workflow sees the
//! same together with what came after it, and may do something else: that would be a nondeterminism error for ever. So a workflow
//! that is ahead of its tasks is put out of the cache as soon as the query is answered, and its next task begins afresh.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use temporalio_common::protos::coresdk::workflow_activation::{WorkflowActivation, workflow_activation_job::Variant};
use temporalio_sdk::{interceptors::WorkerInterceptor, runtime::CoreWorker};

/// How the SDK calls a query that comes without a task.
const LEGACY_QUERY_ID: &str = "legacy_query";

/// Puts workflows out of the cache that may have seen more than their tasks told.
///
/// It costs a task of such a workflow the reading of its history. A task that comes at the very same time as two queries may be
/// dropped with them by the SDK, and comes again after its timeout.
pub(crate) struct ForgetAfterQuery {
    core: Arc<CoreWorker>,
    cached: Mutex<HashMap<String, Run>>,
}

/// A run in the cache.
#[derive(Default)]
struct Run {
    /// Whether it came by replay, be it for a task or for a query: what it saw last may be either's.
    is_replayed: bool,
    /// Whether what it saw last is in its history for good.
    is_replaying: bool,
    /// Whether it saw events at a time by its own clock, in seconds and nanoseconds, at which it had seen others: each task has a
    /// time of its own.
    is_ahead: bool,
    time: Option<(i64, i32)>,
    events: u32,
}

impl ForgetAfterQuery {
    pub(crate) fn new(core: Arc<CoreWorker>) -> Self {
        Self { core, cached: Mutex::default() }
    }

    /// Whether the run is to go once this is answered.
    fn is_to_go(&self, activation: &WorkflowActivation) -> bool {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let mut jobs = activation.jobs.iter().filter_map(|job| job.variant.as_ref());
        if jobs.clone().any(|job| matches!(job, Variant::RemoveFromCache(_))) {
            cached.remove(&activation.run_id);
            return false;
        }
        let run = cached.entry(activation.run_id.clone()).or_default();
        if jobs.clone().any(|job| matches!(job, Variant::QueryWorkflow(query) if query.query_id == LEGACY_QUERY_ID)) {
            return run.is_ahead || (run.is_replayed && !run.is_replaying);
        }
        if jobs.clone().any(|job| matches!(job, Variant::InitializeWorkflow(_))) {
            run.is_replayed = activation.is_replaying;
        }
        // Queries that come with a task tell of nothing.
        if !jobs.all(|job| matches!(job, Variant::QueryWorkflow(_))) {
            let time = activation.timestamp.as_ref().map(|time| (time.seconds, time.nanos));
            run.is_ahead |= run.time == time && run.events < activation.history_length;
            run.is_replaying = activation.is_replaying;
            (run.time, run.events) = (time, activation.history_length);
        }
        false
    }
}

#[async_trait::async_trait(?Send)]
impl WorkerInterceptor for ForgetAfterQuery {
    async fn on_workflow_activation(&self, activation: &WorkflowActivation) -> anyhow::Result<()> {
        if self.is_to_go(activation) {
            tracing::debug!(run_id = activation.run_id, "forgotten after a query");
            self.core.request_workflow_eviction(&activation.run_id);
        }
        Ok(())
    }
}
