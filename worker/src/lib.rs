//! The worker process: the task queues that it serves, their SDK workers, and their lifecycle. The
//! activities are in `darkroom-activities`, the workflows in `darkroom-workflows`.
//!
//! Read it in this order:
//! - [`config`]: the configuration from the environment; [`variables`]: its variables
//! - `registration`: the workflows and activities of each task queue, and their options; `slots`:
//!   the slot suppliers
//! - `serving`: running an SDK worker for a task queue, recycling it, and draining it at shutdown
//! - `pacing`: rate limits for calls to a provider, adapted to its refusals
//! - `deployment`: Worker Versioning, and promotion of this build to the current version
//! - `readiness`: the readiness check
//! - `sweeping`: the schedule of the sweep
//! - [`history`]: fetching a workflow's history, and replaying it
//! - [`purge`]: deleting all jobs of a tenant

pub mod config;
pub mod history;
pub mod purge;
pub mod variables;

mod deployment;
mod pacing;
mod readiness;
mod registration;
mod serving;
mod slots;
mod sweeping;

use std::{env, sync::Arc};

use anyhow::Result;
use darkroom_activities::{
    deliver_webhook::SecretMismatch,
    generate::{Access, RefusalReceivers, RefusedLine, Throttle},
    store_access::StoreAccess,
};
use darkroom_telemetry::{listener, metrics::Metrics};
use darkroom_temporal::metrics::telemetry_options;
use darkroom_workflows::{job::ProviderName, submissions_queue};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};
use temporalio_sdk_core::{CoreRuntime, RuntimeOptions};
use tokio_util::sync::CancellationToken;

pub use self::config::Config;
use self::{pacing::Pacing, readiness::Serving, registration::Registration};

/// Variables that configure a proxy. The store and the provider are called through it.
const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Serves the configured task queues until `shutdown`. Then it drains: it stops polling, lets
/// outputs finish or yield to another attempt, and returns within half a minute.
///
/// # Errors
/// If the worker cannot be set up, or an SDK worker fails permanently. No task queue is served any
/// more, so the process should exit.
#[must_use]
pub fn run(config: Config, shutdown: CancellationToken) -> LocalBoxFuture<'static, Result<()>> {
    // Boxed here: a future is compiled where it is polled.
    serve(config, shutdown).boxed_local()
}

async fn serve(config: Config, shutdown: CancellationToken) -> Result<()> {
    // A worker that fails stops the others: a process that serves half its queues looks healthy.
    let shutdown = shutdown.child_token();
    // Probes and scrapes are answered until `run` returns.
    let returned = CancellationToken::new();
    let _cancel_on_return = returned.clone().drop_guard();
    let metrics = Metrics::install(returned.clone())?;
    darkroom_activities::metrics::describe();
    darkroom_providers::instrumented::describe();
    let access = Access::new();
    let (store, mismatch) = (StoreAccess::new(), SecretMismatch::default());
    let serving = Arc::new(Serving::new(
        store.clone(),
        access.clone(),
        mismatch.clone(),
    ));
    if let Some(address) = config.metrics_listen {
        listener::serve(address, metrics, readiness::of(&serving), returned).await?;
    }
    let storage = config.storage.clone();
    let probes = store
        .clone()
        .probe_forever(storage, uuid::Uuid::now_v7().to_string());
    spawn_until(&shutdown, probes);
    let Some(client) = config.temporal.connect_with_retries(&shutdown).await else {
        return Ok(());
    };
    warn_of_proxies();
    let runtime = core_runtime(&config)?;
    let (throttle, refusals) = Throttle::new();
    let receivers = RefusalReceivers {
        throttle,
        access,
        line: RefusedLine::default(),
    };
    let registration =
        Registration::new(runtime, client.clone(), &config, receivers, store, mismatch)?;

    if config.queues.generate {
        sweeping::schedule(&client, &config.storage).await;
        let configured = config.provider.creates_per_minute.map(pacing::per_second);
        let queue = submissions_queue(ProviderName::Replicate);
        let pacing = Pacing::new(client.clone(), queue, configured).adapt(refusals);
        spawn_until(&shutdown, pacing);
    }
    if let Some(deployment) = &config.build.deployment {
        let build = config.build.id.clone();
        let promoting =
            deployment::promote_when_idle(client.clone(), deployment.clone(), build, config.queues);
        spawn_until(&shutdown, promoting);
    }
    tracing::info!(queues = ?config.queues, namespace = config.temporal.namespace(), build = config.build.id.as_str(), "worker started");
    serving.begins(client, shutdown.clone());
    let queues = registration::queues(config.queues);
    let served = queues
        .iter()
        .map(|queue| serving::serve(&registration, *queue, &shutdown));
    for ended in join_all(served).await {
        ended?;
    }
    tracing::info!("worker stopped");
    Ok(())
}

fn spawn_until(shutdown: &CancellationToken, task: impl Future<Output: Send> + Send + 'static) {
    let shutdown = shutdown.clone();
    tokio::spawn(async move { shutdown.run_until_cancelled(task).await });
}

fn warn_of_proxies() {
    if let Some(name) = PROXIES.into_iter().find(|name| env::var_os(name).is_some()) {
        tracing::warn!(
            name,
            "outputs are fetched and webhooks sent without the proxy, as addresses are checked when they are connected to; the store and the provider are called through it, unless NO_PROXY names them"
        );
    }
}

fn core_runtime(config: &Config) -> Result<CoreRuntime> {
    let options = RuntimeOptions::builder()
        .telemetry_options(telemetry_options())
        .heartbeat_interval(Some(config.heartbeat_interval.duration()))
        .build();
    CoreRuntime::new_assume_tokio(options.map_err(anyhow::Error::msg)?)
}
