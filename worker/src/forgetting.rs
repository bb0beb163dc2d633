//! What a query must not leave behind in a worker.
//!
//! A query that comes without a workflow task makes the SDK do what no task has asked for, in two ways:
//! - A worker that does not have the workflow in its cache is sent all that has happened, also what no task has told of yet. The
//!   SDK shows that to the workflow, and keeps what it wants done about it.
//! - A query takes the place of a task that waits for a local activity. What the workflow does next is kept, and the task is tried
//!   again after its timeout.
//!
//! Whoever replays the workflow sees the same together with what came after it, and may do something else: that would be a
//! nondeterminism error for ever. So a workflow that may be ahead of its tasks is put out of the cache as soon as the query is
//! answered, and its next task begins afresh.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use temporalio_common::protos::coresdk::{
    workflow_activation::{WorkflowActivation, workflow_activation_job::Variant},
    workflow_commands::workflow_command,
    workflow_completion::{WorkflowActivationCompletion, workflow_activation_completion::Status},
};
use temporalio_sdk::{interceptors::WorkerInterceptor, runtime::CoreWorker};

/// How the SDK calls a query that comes without a task.
const LEGACY_QUERY_ID: &str = "legacy_query";

/// Puts workflows out of the cache that may be ahead of their tasks.
pub(crate) struct ForgetAfterQuery {
    core: Arc<CoreWorker>,
    cached: Mutex<HashMap<String, Run>>,
}

/// A run in the cache.
#[derive(Default)]
struct Run {
    /// Whether it came by replay, be it for a task or for a query.
    is_replayed: bool,
    /// Whether what it was told or does last may not be in a task of this worker.
    may_be_ahead: bool,
    /// The time by its own clock, in seconds and nanoseconds: each task has another.
    time: Option<(i64, i32)>,
    /// How many events it was told of.
    events: u32,
}

impl ForgetAfterQuery {
    pub(crate) fn new(core: Arc<CoreWorker>) -> Self {
        Self {
            core,
            cached: Mutex::default(),
        }
    }

    /// Whether the run is to go once this is answered.
    fn is_to_go(&self, activation: &WorkflowActivation) -> bool {
        let jobs = || {
            activation
                .jobs
                .iter()
                .filter_map(|job| job.variant.as_ref())
        };
        let mut cached = self.lock();
        if jobs().any(|job| matches!(job, Variant::RemoveFromCache(_))) {
            cached.remove(&activation.run_id);
            return false;
        }
        let run = cached.entry(activation.run_id.clone()).or_default();
        if jobs().any(
            |job| matches!(job, Variant::QueryWorkflow(query) if query.query_id == LEGACY_QUERY_ID),
        ) {
            return run.may_be_ahead;
        }
        // Queries that come with a task tell a workflow nothing.
        if !jobs().all(|job| matches!(job, Variant::QueryWorkflow(_))) {
            run.told(activation);
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Run>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Takes note of what the run is told.
    fn told(&mut self, activation: &WorkflowActivation) {
        let mut jobs = activation
            .jobs
            .iter()
            .filter_map(|job| job.variant.as_ref());
        if jobs
            .clone()
            .any(|job| matches!(job, Variant::InitializeWorkflow(_)))
        {
            self.is_replayed = activation.is_replaying;
        }
        let time = activation
            .timestamp
            .as_ref()
            .map(|time| (time.seconds, time.nanos));
        let is_without_task =
            time == self.time && (self.may_be_ahead || self.events < activation.history_length);
        let is_after_local_activity =
            jobs.any(|job| matches!(job, Variant::ResolveActivity(end) if end.is_local));
        self.may_be_ahead = !activation.is_replaying
            && (self.is_replayed || is_without_task || is_after_local_activity);
        (self.time, self.events) = (time, activation.history_length);
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

    async fn on_workflow_activation_completion(&self, completion: &WorkflowActivationCompletion) {
        if waits_for_local_activity(completion)
            && let Some(run) = self.lock().get_mut(&completion.run_id)
        {
            run.may_be_ahead = true;
        }
    }
}

fn waits_for_local_activity(completion: &WorkflowActivationCompletion) -> bool {
    let Some(Status::Successful(success)) = &completion.status else {
        return false;
    };
    let mut commands = success
        .commands
        .iter()
        .filter_map(|command| command.variant.as_ref());
    commands.any(|command| matches!(command, workflow_command::Variant::ScheduleLocalActivity(_)))
}
