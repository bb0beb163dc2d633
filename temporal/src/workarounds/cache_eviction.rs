//! Evicts a workflow from the worker's cache after a query that may have put it ahead of its tasks.
//!
//! - **Fault**: a query that comes without a workflow task advances the cached workflow, in two
//!   cases. First, a worker without the workflow in its cache gets the whole history, including
//!   events of which no workflow task has been started. The SDK applies these events and keeps the
//!   commands of the workflow. Second, the query replaces a workflow task that waits for a local
//!   activity. The SDK keeps the commands that follow, and the server retries the task after its
//!   timeout. In both cases a later replay sees the events in other tasks than the first execution.
//!   The workflow may then decide differently, and its tasks fail with a nondeterminism error.
//! - **Shown by**: tests/it/queries.rs.
//! - **Belongs upstream**: in sdk-core's handling of legacy queries; see
//!   docs/upstream/query-without-task.md.
//! - **Remove** when a query leaves the cached workflow unchanged.
//!
//! A workflow that may be ahead of its tasks is evicted as soon as the query is answered. Its next
//! task replays it from its history. The SDK lets a program evict a workflow only through the
//! constructor that [`new_worker`] uses. It is undocumented: check it with each upgrade of the SDK.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Error, Result};
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::coresdk::{
    workflow_activation::{WorkflowActivation, workflow_activation_job::Variant},
    workflow_commands::workflow_command,
    workflow_completion::{WorkflowActivationCompletion, workflow_activation_completion::Status},
};
use temporalio_sdk::{Worker, WorkerOptions, interceptors::WorkerInterceptor, runtime::CoreWorker};
use temporalio_sdk_core::{CoreRuntime, TunerHolder, init_worker};

/// Id that the SDK gives to a query that comes without a workflow task.
const LEGACY_QUERY_ID: &str = "legacy_query";

/// Creates a worker as `Worker::new` does, with a tuner, and with an interceptor that evicts
/// workflows after queries.
///
/// # Errors
/// If the SDK rejects the options.
pub fn new_worker(
    runtime: &CoreRuntime,
    client: &Client,
    mut options: WorkerOptions,
    tuner: TunerHolder,
) -> Result<Worker> {
    let mut config = options
        .to_core_options(client.namespace(), client.identity())
        .map_err(Error::msg)?;
    config.tuner = Some(Arc::new(tuner));
    let core = init_worker(runtime, config, client.connection().clone())?;
    let core = Arc::new(core);
    options.worker_interceptor(EvictAfterQuery::new(Arc::clone(&core)));
    Ok(Worker::new_from_core_options(
        core,
        client.options().clone(),
        options,
    )?)
}

/// Interceptor that evicts workflows that may be ahead of their tasks when they are queried.
struct EvictAfterQuery {
    core: Arc<CoreWorker>,
    cached: Mutex<HashMap<String, Run>>,
}

/// A run in the cache.
#[derive(Default)]
struct Run {
    /// True if the run came into the cache by replay, for a task or for a query.
    is_replayed: bool,
    /// True if its last activation, or its last commands, may not belong to a task of this worker.
    may_be_ahead: bool,
    /// Workflow time in seconds and nanoseconds. It differs from task to task.
    time: Option<(i64, i32)>,
    /// Number of events that have been applied.
    events: u32,
}

impl EvictAfterQuery {
    fn new(core: Arc<CoreWorker>) -> Self {
        Self {
            core,
            cached: Mutex::default(),
        }
    }

    /// Returns true if the run has to be evicted once this activation is completed.
    fn should_evict(&self, activation: &WorkflowActivation) -> bool {
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
        // Queries that come with a workflow task do not advance the workflow.
        if !jobs().all(|job| matches!(job, Variant::QueryWorkflow(_))) {
            run.activated(activation);
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Run>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Updates the state of the run with an activation.
    fn activated(&mut self, activation: &WorkflowActivation) {
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
impl WorkerInterceptor for EvictAfterQuery {
    async fn on_workflow_activation(&self, activation: &WorkflowActivation) -> anyhow::Result<()> {
        if self.should_evict(activation) {
            tracing::debug!(run_id = activation.run_id, "evicted after a query");
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
