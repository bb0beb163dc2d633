//! The readiness check: whether the api can answer, and whether the store and workers are
//! available. It runs at most once a second, however many clients ask.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use darkroom_telemetry::listener;
use darkroom_temporal::{
    namespace::{self, Missing},
    task_queues::{self, Tasks},
    workers,
};
use darkroom_types::resource::{Checks, Readiness, ReadinessStatus};
use darkroom_workflows::{PERSIST_QUEUE, WORKFLOW_QUEUE, search_attributes};
use futures::future::join3;
use moka::future::Cache;
use temporalio_client::Client;

use crate::{context::Context, metrics};

/// Time for which a result is reused.
const VALIDITY: Duration = Duration::from_secs(1);

/// Timeout of the check of the store.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Latest result of the readiness check.
pub(crate) struct LatestReadiness {
    latest: Cache<(), Arc<Readiness>>,
    /// Set once the search attributes were found, as they are never removed.
    has_search_attributes: AtomicBool,
}

impl LatestReadiness {
    pub(crate) fn new() -> Self {
        Self {
            latest: Cache::builder()
                .max_capacity(1)
                .time_to_live(VALIDITY)
                .build(),
            has_search_attributes: AtomicBool::new(false),
        }
    }

    /// Returns the readiness, at most a second old.
    pub(crate) async fn read(&self, context: &Context) -> Arc<Readiness> {
        self.latest.get_with((), self.check(context)).await
    }

    async fn check(&self, context: &Context) -> Arc<Readiness> {
        let checks = join3(self.temporal(context), storage(context), serving(context));
        let (temporal, storage, (generate, persist)) = checks.await;
        let others = [&storage, &generate, &persist];
        let status = match &temporal {
            Err(_) => ReadinessStatus::NotReady,
            Ok(()) if others.into_iter().all(Result::is_ok) => ReadinessStatus::Ready,
            Ok(()) => ReadinessStatus::Degraded,
        };
        metrics::readiness_checked("temporal", temporal.is_ok());
        metrics::readiness_checked("storage", storage.is_ok());
        metrics::readiness_checked("worker_generate", generate.is_ok());
        metrics::readiness_checked("worker_persist", persist.is_ok());
        Arc::new(Readiness {
            status,
            checks: Checks {
                temporal: status_text(temporal.map_err(|lacking| lacking.to_string())),
                storage: status_text(storage),
                worker_generate: status_text(generate),
                worker_persist: status_text(persist),
            },
        })
    }

    async fn temporal(&self, context: &Context) -> Result<(), Missing> {
        let client = context.temporal.client().map_err(|_| Missing::Temporal)?;
        namespace::check(client).await?;
        if !self.has_search_attributes.load(Ordering::Relaxed) {
            namespace::check_search_attributes(client, &search_attributes::NAMES).await?;
            self.has_search_attributes.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn status_text(check: Result<(), String>) -> String {
    check.err().unwrap_or_else(|| "ok".to_owned())
}

/// Returns the check for an orchestrator's probe, whose error says what is missing.
pub(crate) fn probe(context: &Arc<Context>) -> listener::Readiness {
    let context = Arc::clone(context);
    Arc::new(move || {
        let context = Arc::clone(&context);
        Box::pin(async move {
            let readiness = context.readiness.read(&context).await;
            match readiness.status {
                ReadinessStatus::Ready | ReadinessStatus::Degraded => Ok(()),
                ReadinessStatus::NotReady => Err(readiness.checks.temporal.clone()),
            }
        })
    })
}

async fn storage(context: &Context) -> Result<(), String> {
    match tokio::time::timeout(TIMEOUT, context.storage.check()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store is not ready");
            Err("the bucket cannot be used".to_owned())
        }
        Err(_) => Err("the store does not answer".to_owned()),
    }
}

/// Checks that workers serve the workflow queue, and the persist queue.
async fn serving(context: &Context) -> (Result<(), String>, Result<(), String>) {
    // On the workflow queue, activity pollers stop while every slot is taken; workflow task pollers
    // do not.
    let kinds = [
        (WORKFLOW_QUEUE, Tasks::Workflow),
        (PERSIST_QUEUE, Tasks::Activity),
    ];
    let Ok(client) = context.temporal.client() else {
        let away = || Err(Missing::Temporal.to_string());
        return (away(), away());
    };
    let living = workers::living(client).await.ok().flatten();
    let [generate, persist] = kinds.map(async |(name, kind)| {
        let is_served = match &living {
            Some(living) => living.contains_key(name),
            None => polling(client, name, kind).await? > 0,
        };
        if !is_served {
            return Err(format!("no worker serves {name}"));
        }
        Ok(())
    });
    futures::future::join(generate, persist).await
}

async fn polling(client: &Client, name: &str, tasks: Tasks) -> Result<usize, String> {
    let queue = task_queues::describe(client, name, tasks).await;
    queue
        .map(|queue| queue.pollers.len())
        .map_err(|_| Missing::Temporal.to_string())
}
