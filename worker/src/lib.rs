//! The Temporal worker: what it serves and how it runs. What the activities do is not here.

pub mod config;

mod connect;
mod sweeping;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use darkroom_activities::{
    Activities,
    deliver_webhook::Courier,
    generate::replicate::Replicate,
    guard::{Guard, Resolver},
    persist::{Engine, Memory, Sources, source::Limits},
    registered::{CancelGeneration, Collect, DeliverWebhook, Finalize, Generate, Inspect, Persist, Sweep},
};
use darkroom_workflows::{GENERATE_QUEUE, MediaGeneration, PERSIST_QUEUE, StorageSweep, WebhookDelivery};
use futures::future::{OptionFuture, join};
use temporalio_client::Client;
use temporalio_common::worker::WorkerDeploymentOptions;
use temporalio_sdk::{
    Runtime, Worker, WorkerOptions,
    runtime::{
        RuntimeOptions,
        worker_tuner::{FixedSizeSlotSupplier, TunerHolder, WorkerTuner},
    },
};
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// How long a stopping worker lets its activities finish before it asks them to make room.
const GRACE: Duration = Duration::from_secs(20);

/// How many workflow tasks and local activities run at a time: each is short.
const WORKFLOW_SLOTS: usize = 200;

/// Serves the configured task queues until `shutdown`, then stops polling and lets running activities finish.
///
/// # Errors
/// If the worker cannot be set up or Temporal refuses it for good. The process should exit: it serves nothing any more.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<()> {
    let Some(()) = connect::until_store_answers(&config.storage, &shutdown).await? else { return Ok(()) };
    let Some(client) = connect::until_connected(&config.temporal, &shutdown).await else { return Ok(()) };
    let runtime = Runtime::from_current_tokio(RuntimeOptions::default())?;
    let activities = Arc::new(activities(&config)?);

    // One worker that fails takes the other along: half a process looks alive and is not.
    let shutdown = shutdown.child_token();
    let generating = if config.queues.generate {
        sweeping::schedule(&client, &config.storage).await;
        Some(generate_worker(&runtime, &client, &activities, config.generate_concurrency.get())?)
    } else {
        None
    };
    let persisting = if config.queues.persist {
        Some(persist_worker(&runtime, &client, &activities, config.persist_concurrency.get())?)
    } else {
        None
    };
    tracing::info!(queues = ?config.queues, namespace = config.temporal.namespace(), "worker started");
    let serve_both = join(
        OptionFuture::from(generating.map(|worker| serve(worker, &shutdown))),
        OptionFuture::from(persisting.map(|worker| serve(worker, &shutdown))),
    );
    let (generated, persisted) = serve_both.await;
    generated.transpose()?;
    persisted.transpose()?;
    tracing::info!("worker stopped");
    Ok(())
}

async fn serve(mut worker: Worker, shutdown: &CancellationToken) -> Result<()> {
    let stop = worker.shutdown_handle();
    let stop_on_shutdown = async {
        shutdown.cancelled().await;
        stop();
    };
    let run = async {
        let result = worker.run().await.context("the worker cannot go on");
        shutdown.cancel();
        result
    };
    join(run, stop_on_shutdown).await.0
}

fn activities(config: &Config) -> Result<Activities> {
    let provider = &config.provider;
    let replicate = Replicate::new(provider.base_url.clone(), provider.token.clone(), provider.public_url.clone())
        .context("cannot set up the provider's client")?;
    let persist = &config.persist;
    let resolver = Resolver::from_system().context("cannot set up the resolver of names")?;
    let guard = Guard::new(persist.ports.clone(), persist.allowed_hosts.clone(), resolver.clone());
    let webhooks = &config.webhooks;
    let webhook_guard = Guard::new(webhooks.ports.clone(), webhooks.allowed_hosts.clone(), resolver);
    let limits = Limits::of(persist.max_output.as_u64());
    Ok(Activities {
        provider: Arc::new(replicate),
        submission_policy: provider.submission_policy,
        sources: Sources::new(guard, limits).context("cannot set up the client for outputs")?,
        engine: Engine {
            storage: config.storage.clone(),
            memory: Memory::new(usize::try_from(persist.memory.as_u64()).unwrap_or(usize::MAX)),
            stream_max: persist.stream_max.as_u64(),
        },
        courier: Courier::new(webhook_guard, webhooks.secret.clone())
            .context("cannot set up the client for webhooks")?,
    })
}

fn generate_worker(runtime: &Runtime, client: &Client, activities: &Arc<Activities>, slots: usize) -> Result<Worker> {
    let options = WorkerOptions::new(GENERATE_QUEUE)
        .register_workflow::<MediaGeneration>()?
        .register_workflow::<StorageSweep>()?
        .register_workflow::<WebhookDelivery>()?
        .register_activity::<Generate>(Arc::clone(activities))
        .register_activity::<Collect>(Arc::clone(activities))
        .register_activity::<Inspect>(Arc::clone(activities))
        .register_activity::<CancelGeneration>(Arc::clone(activities))
        .register_activity::<DeliverWebhook>(Arc::clone(activities))
        .register_activity::<Finalize>(Arc::clone(activities))
        .deployment_options(deployment())
        .graceful_shutdown_period(GRACE)
        .tuner(tuner(slots))
        .build();
    Worker::new(runtime, client.clone(), options).context("cannot serve the queue of generations")
}

fn persist_worker(runtime: &Runtime, client: &Client, activities: &Arc<Activities>, slots: usize) -> Result<Worker> {
    let options = WorkerOptions::new(PERSIST_QUEUE)
        .register_activity::<Persist>(Arc::clone(activities))
        .register_activity::<Sweep>(Arc::clone(activities))
        .register_activity::<Finalize>(Arc::clone(activities))
        .deployment_options(deployment())
        .graceful_shutdown_period(GRACE)
        .tuner(tuner(slots))
        .build();
    Worker::new(runtime, client.clone(), options).context("cannot serve the queue of outputs")
}

/// Names the build in histories, so that one sees which code did what.
fn deployment() -> WorkerDeploymentOptions {
    WorkerDeploymentOptions::from_build_id(env!("CARGO_PKG_VERSION").to_owned())
}

fn tuner(activity_slots: usize) -> WorkerTuner {
    TunerHolder::builder()
        .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(WORKFLOW_SLOTS))
        .activity_task_slot_supplier(FixedSizeSlotSupplier::new(activity_slots))
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(WORKFLOW_SLOTS))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build()
        .into()
}
