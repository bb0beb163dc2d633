//! The SDK worker of each task queue: its workflows and activities, and its slots and other
//! options.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use darkroom_activities::{
    Activities, CancelGeneration, Collect, DeleteJob, DeliverWebhook, Finalize, Find, Generate,
    Persist, Sweep,
    delete::Searches,
    deliver_webhook::{SecretMismatch, WebhookSender},
    generate::{Access, RefusalReceivers},
    guard::{Guard, Resolver},
    persist::{Engine, Memory, Previewer, Sources, source::Limits},
    store_access::StoreAccess,
};
use darkroom_providers::{instrumented::Instrumented, replicate::Replicate};
use darkroom_temporal::{
    trace_context::ActivitySpans,
    workarounds::{
        cache_eviction,
        worker_recycling::{ActivityCount, CountActivities},
    },
};
use darkroom_workflows::{
    PERSIST_QUEUE, WEBHOOK_QUEUE, WORKFLOW_QUEUE, job::ProviderName, reads_queue, submissions_queue,
};
use temporalio_client::Client;
use temporalio_common::worker::WorkerDeploymentOptions;
use temporalio_sdk::{Worker, WorkerOptions};
use temporalio_sdk_core::CoreRuntime;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Queues},
    deployment, pacing,
    slots::{ActivitySlots, tuner},
};

/// Registers all workflows with a worker or a replayer, whose options are of different types.
macro_rules! register_workflows {
    ($options:expr) => {
        $options
            .register_workflow::<::darkroom_workflows::MediaGeneration>()?
            .register_workflow::<::darkroom_workflows::JobDeletion>()?
            .register_workflow::<::darkroom_workflows::StorageSweep>()?
            .register_workflow::<::darkroom_workflows::WebhookDelivery>()?
            .workflow_interceptor(
                ::temporalio_sdk::workflow_interceptors::WorkflowInterceptorConstructor::new(
                    |_| ::darkroom_temporal::trace_context::TraceContextPropagator::default(),
                ),
            )
    };
}
pub(crate) use register_workflows;

/// Graceful shutdown period: time for which a recycled worker lets its activities finish before the
/// SDK cancels them, as long as any output may take. At shutdown of the process, activities yield
/// earlier and by themselves.
const GRACE: Duration = Duration::from_mins(30);

/// Timeout of a workflow task on the sticky queue of the worker that has the workflow in its cache.
/// That worker may be gone.
const STICKY: Duration = Duration::from_secs(5);

/// Capacity of the workflow cache, at about 80 KiB for each workflow: enough for the busy ones. A
/// workflow that waits for the provider may be evicted: its history is short and quickly replayed.
const CACHED_WORKFLOWS: usize = 250;

/// Slots for webhooks. Receivers may be slow, and an attempt that waits costs little more than a
/// file descriptor.
const WEBHOOK_SLOTS: usize = 1000;

/// File descriptors that the process asks the system for: soft limits are often 1024, which is less
/// than webhooks, submissions and outputs need together.
const FILES: u64 = 65_536;

/// Soft limit of file descriptors that is common, if the system does not tell.
const COMMON_FILES: u64 = 1024;

/// Divisor of the file descriptors that yields the limit of slots for webhooks: the receivers of
/// one tenant must not keep outputs and submissions from connecting.
const FILES_PER_WEBHOOK: usize = 4;

/// Slots for jobs that are deleted, and for manifests that were not written at once because the
/// store was unavailable.
const RECORD_SLOTS: usize = 32;

/// A task queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Queue {
    /// Workflows, deletions, and manifests that were not written at once.
    Workflows,
    /// Webhooks to callers.
    Webhooks,
    /// Paid submissions to a provider.
    Submissions(ProviderName),
    /// Other calls to a provider, which are free.
    Reads(ProviderName),
    /// Outputs, and the sweep.
    Persist,
}

impl Queue {
    /// Returns true if its tasks cost money.
    pub(crate) fn buys(self) -> bool {
        matches!(self, Self::Submissions(_))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Workflows => WORKFLOW_QUEUE,
            Self::Webhooks => WEBHOOK_QUEUE,
            Self::Submissions(provider) => submissions_queue(provider),
            Self::Reads(provider) => reads_queue(provider),
            Self::Persist => PERSIST_QUEUE,
        }
    }
}

/// Returns the task queues that this process serves.
pub(crate) fn queues(served: Queues) -> Vec<Queue> {
    let mut queues = Vec::new();
    if served.generate {
        let provider = ProviderName::Replicate;
        queues.extend([
            Queue::Workflows,
            Queue::Webhooks,
            Queue::Submissions(provider),
            Queue::Reads(provider),
        ]);
    }
    if served.persist {
        queues.push(Queue::Persist);
    }
    queues
}

/// Factory of SDK workers: the runtime, the client, the activities and the options.
pub(crate) struct Registration {
    runtime: CoreRuntime,
    pub(crate) client: Client,
    activities: Activities,
    deployment: WorkerDeploymentOptions,
    workflow_tasks: usize,
    generate_slots: usize,
    webhook_slots: usize,
    creates_per_second: Option<f64>,
    reads_per_second: Option<f64>,
    pub(crate) recycle_after: u64,
}

impl Registration {
    pub(crate) fn new(
        runtime: CoreRuntime,
        client: Client,
        config: &Config,
        refusal_receivers: RefusalReceivers,
        store: StoreAccess,
        mismatch: SecretMismatch,
    ) -> Result<Self> {
        Ok(Self {
            runtime,
            client,
            activities: activities(config, refusal_receivers, store, mismatch)?,
            creates_per_second: config.provider.creates_per_minute.map(pacing::per_second),
            reads_per_second: config.provider.reads_per_minute.map(pacing::per_second),
            deployment: deployment::options(&config.build),
            workflow_tasks: config.workflow_task_concurrency.get(),
            generate_slots: config.generate_concurrency.get(),
            webhook_slots: webhook_slots(),
            recycle_after: config.recycle_after.get(),
        })
    }

    /// Waits until the provider accepts submissions and outputs can be stored.
    pub(crate) async fn may_buy(&self) {
        self.activities.store.granted().await;
        self.access().granted(&*self.activities.provider).await;
    }

    /// Waits until the provider refuses submissions or outputs cannot be stored.
    pub(crate) async fn may_not_buy(&self) {
        tokio::select! {
            () = self.access().refused() => {}
            () = self.activities.store.refused() => {}
        }
    }

    fn access(&self) -> &Access {
        &self.activities.refusal_receivers.access
    }

    /// Creates a worker for a queue. Its attempts yield once `stopping` is cancelled.
    pub(crate) fn worker(
        &self,
        queue: Queue,
        stopping: CancellationToken,
        activities_run: Arc<ActivityCount>,
    ) -> Result<Worker> {
        let activities = Arc::new(Activities {
            stopping,
            ..self.activities.clone()
        });
        let options = WorkerOptions::new(queue.name());
        let (options, slots) = match queue {
            Queue::Workflows => (
                register_workflows!(options)
                    .register_activity::<Finalize>(Arc::clone(&activities))
                    .register_activity::<DeleteJob>(activities),
                ActivitySlots::Fixed(RECORD_SLOTS),
            ),
            Queue::Webhooks => (
                options.register_activity::<DeliverWebhook>(activities),
                ActivitySlots::Fixed(self.webhook_slots),
            ),
            Queue::Submissions(_) => (
                options.register_activity::<Generate>(activities),
                ActivitySlots::Fixed(self.generate_slots),
            ),
            Queue::Reads(_) => (
                options
                    .register_activity::<Collect>(Arc::clone(&activities))
                    .register_activity::<Find>(Arc::clone(&activities))
                    .register_activity::<CancelGeneration>(activities),
                ActivitySlots::Fixed(self.generate_slots),
            ),
            Queue::Persist => (
                options
                    .register_activity::<Persist>(Arc::clone(&activities))
                    .register_activity::<Sweep>(activities),
                ActivitySlots::Outputs(Arc::clone(self.activities.engine.memory.slots())),
            ),
        };
        let options = options
            .activity_inbound_interceptor(CountActivities(activities_run))
            .activity_inbound_interceptor(ActivitySpans)
            .deployment_options(self.deployment.clone())
            .graceful_shutdown_period(GRACE)
            .sticky_queue_schedule_to_start_timeout(STICKY)
            .max_cached_workflows(CACHED_WORKFLOWS)
            // Each worker sets it: the last poll decides.
            .maybe_max_task_queue_activities_per_second(self.rate(queue))
            .build();
        let tuner = tuner(self.workflow_tasks, slots)?;
        cache_eviction::new_worker(&self.runtime, &self.client, options, tuner)
            .with_context(|| format!("cannot serve {}", queue.name()))
    }

    fn rate(&self, queue: Queue) -> Option<f64> {
        match queue {
            Queue::Submissions(_) => self.creates_per_second,
            Queue::Reads(_) => self.reads_per_second,
            Queue::Workflows | Queue::Webhooks | Queue::Persist => None,
        }
    }
}

/// Raises the limit of file descriptors, and returns the slots for webhooks that it has room for.
fn webhook_slots() -> usize {
    let files = rlimit::increase_nofile_limit(FILES).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot raise the limit of open files");
        COMMON_FILES
    });
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    WEBHOOK_SLOTS.min(files / FILES_PER_WEBHOOK).max(1)
}

fn activities(
    config: &Config,
    refusal_receivers: RefusalReceivers,
    store: StoreAccess,
    mismatch: SecretMismatch,
) -> Result<Activities> {
    let provider = &config.provider;
    let replicate = Replicate::new(
        provider.base_url.clone(),
        provider.token.clone(),
        provider.public_url.clone(),
    )
    .context("cannot set up the provider's client")?;
    let persist = &config.persist;
    let resolver = Resolver::from_system().context("cannot set up the resolver of names")?;
    let guard = Guard::new(
        persist.ports.clone(),
        persist.allowed_hosts.clone(),
        resolver.clone(),
    );
    let webhooks = &config.webhooks;
    let webhook_guard = Guard::new(
        webhooks.ports.clone(),
        webhooks.allowed_hosts.clone(),
        resolver,
    );
    let limits = Limits::of(persist.max_output.as_u64());
    Ok(Activities {
        provider: Arc::new(Instrumented(replicate)),
        policy: provider.policy,
        refusal_receivers,
        sources: Sources::new(guard, limits).context("cannot set up the client for outputs")?,
        engine: Engine {
            storage: config.storage.clone(),
            memory: Memory::new(persist.memory, persist.concurrency),
            previewer: Previewer::start().context("cannot start the thread that makes previews")?,
            stream_max: persist.stream_max.as_u64(),
        },
        store,
        searches: Searches::default(),
        webhook_sender: WebhookSender::new(webhook_guard, webhooks.secret.clone(), mismatch)
            .context("cannot set up the client for webhooks")?,
        stopping: CancellationToken::new(),
    })
}
