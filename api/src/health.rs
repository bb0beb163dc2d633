//! Liveness and readiness. Live means that the process answers; ready means that Temporal and the store do too and that
//! workers were seen on both queues, which Temporal remembers for some minutes.

use std::{sync::Arc, time::Duration};

use darkroom_telemetry::listener;
use darkroom_workflows::{PERSIST_QUEUE, WORKFLOW_QUEUE};
use futures::future::join4;
use moka::future::Cache;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    payload::{Json, PlainText},
    types::Example,
};
use temporalio_common::protos::temporal::api::enums::v1::TaskQueueType;

use crate::{
    Context,
    openapi::Tag,
    temporal::queues::{self, Queue},
};

const TIMEOUT: Duration = Duration::from_secs(3);

/// The operations for those who run it.
pub(crate) struct HealthApi(pub(crate) Arc<Context>);

#[OpenApi(tag = "Tag::Operations")]
impl HealthApi {
    /// Begin here
    ///
    /// Leads to the documentation.
    #[oai(path = "/", method = "get", operation_id = "begin", hidden)]
    #[expect(clippy::unused_async, reason = "operations are asynchronous")]
    async fn begin(&self) -> Begin {
        Begin::Documentation("/docs".to_owned())
    }

    /// Is it alive?
    ///
    /// Whether the process answers.
    #[oai(path = "/healthz", method = "get", operation_id = "getHealth")]
    #[expect(clippy::unused_async, reason = "operations are asynchronous")]
    async fn live(&self) -> Live {
        Live::Alive(Json(Health {
            status: "ok".to_owned(),
        }))
    }

    /// What was counted?
    ///
    /// For Prometheus: requests, reads of jobs and those for which Temporal was asked, jobs accepted, connections, followers.
    #[oai(path = "/metrics", method = "get", operation_id = "getMetrics")]
    #[expect(clippy::unused_async, reason = "operations are asynchronous")]
    async fn metrics(&self) -> PlainText<String> {
        PlainText(self.0.metrics.render())
    }

    /// Is it ready?
    ///
    /// Whether Temporal and the store answer too, and workers were seen on both queues in the last minutes.
    #[oai(path = "/readyz", method = "get", operation_id = "getReadiness")]
    async fn ready(&self) -> Ready {
        let (ready, checks) = self.0.readiness.0.get_with((), look(&self.0)).await;
        if ready {
            Ready::Ready(Json(Readiness {
                status: "ready".to_owned(),
                checks,
            }))
        } else {
            Ready::NotReady(Json(Readiness {
                status: "not ready".to_owned(),
                checks,
            }))
        }
    }
}

/// How things stood when somebody asked last, for a moment: whoever asks often does not ask Temporal and the store as often.
pub(crate) struct ReadinessCache(Cache<(), (bool, Checks)>);

impl ReadinessCache {
    pub(crate) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(1)
                .time_to_live(Duration::from_millis(500))
                .build(),
        )
    }
}

/// The same for an orchestrator, in words.
pub(crate) fn readiness(context: &Arc<Context>) -> listener::Readiness {
    let context = Arc::clone(context);
    Arc::new(move || {
        let context = Arc::clone(&context);
        Box::pin(async move {
            let (ready, checks) = context.readiness.0.get_with((), look(&context)).await;
            let Checks {
                temporal,
                storage,
                worker_generate,
                worker_persist,
            } = checks;
            if ready {
                Ok(())
            } else {
                Err([temporal, storage, worker_generate, worker_persist].join(", "))
            }
        })
    })
}

async fn look(context: &Context) -> (bool, Checks) {
    // Of what is polled for on the first queue, only workflow tasks never take every place.
    let generate = worker(context, WORKFLOW_QUEUE, TaskQueueType::Workflow);
    let persist = worker(context, PERSIST_QUEUE, TaskQueueType::Activity);
    let checks = join4(temporal(context), storage(context), generate, persist);
    let (temporal, storage, generate, persist) = checks.await;
    let ready = [&temporal, &storage, &generate, &persist]
        .into_iter()
        .all(Result::is_ok);
    let say = |check: Result<(), String>| check.err().unwrap_or_else(|| "ok".to_owned());
    let checks = Checks {
        temporal: say(temporal),
        storage: say(storage),
        worker_generate: say(generate),
        worker_persist: say(persist),
    };
    (ready, checks)
}

#[derive(ApiResponse)]
enum Begin {
    /// The documentation is there.
    #[oai(status = 307)]
    Documentation(#[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Live {
    /// It is.
    #[oai(status = 200)]
    Alive(Json<Health>),
}

#[derive(ApiResponse)]
enum Ready {
    /// It is.
    #[oai(status = 200)]
    Ready(Json<Readiness>),
    /// Something is missing.
    #[oai(status = 503)]
    NotReady(Json<Readiness>),
}

#[derive(Object)]
#[oai(example)]
struct Health {
    status: String,
}

impl Example for Health {
    fn example() -> Self {
        Self {
            status: "ok".to_owned(),
        }
    }
}

#[derive(Object)]
#[oai(example)]
struct Readiness {
    status: String,
    checks: Checks,
}

impl Example for Readiness {
    fn example() -> Self {
        let ok = || "ok".to_owned();
        let worker_persist = "no worker polls media-persist".to_owned();
        let checks = Checks {
            temporal: ok(),
            storage: ok(),
            worker_generate: ok(),
            worker_persist,
        };
        Self {
            status: "not ready".to_owned(),
            checks,
        }
    }
}

/// `ok`, or what is wrong.
#[derive(Clone, Object)]
struct Checks {
    temporal: String,
    storage: String,
    worker_generate: String,
    worker_persist: String,
}

async fn temporal(context: &Context) -> Result<(), String> {
    queue(context, WORKFLOW_QUEUE, TaskQueueType::Workflow)
        .await
        .map(|_| ())
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

async fn worker(context: &Context, name: &str, kind: TaskQueueType) -> Result<(), String> {
    match queue(context, name, kind).await?.workers {
        0 => Err(format!("no worker polls {name}")),
        _ => Ok(()),
    }
}

async fn queue(context: &Context, name: &str, kind: TaskQueueType) -> Result<Queue, String> {
    let away = || "Temporal cannot be reached".to_owned();
    let client = context.temporal.client().map_err(|_| away())?;
    queues::describe(client, name, kind)
        .await
        .map_err(|_| away())
}
