//! The worker's configuration, parsed from the environment variables of [`crate::variables`].
//!
//! - `provider`: the provider, its rate limits, and the policy of submissions
//! - `persist`: limits of moving outputs
//! - `queues`: the task queues that the process polls; `build`: its build, for Worker Versioning

mod build;
mod persist;
mod provider;
mod queues;

use std::{
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    str::FromStr,
    time::Duration,
};

use anyhow::Result;
use darkroom_activities::guard::{AllowedHosts, Ports};
use darkroom_config::shared::{DARKROOM_WEBHOOK_SECRET, METRICS_LISTEN};
use darkroom_storage::Storage;
use darkroom_temporal::TemporalConfig;
use darkroom_workflows::webhook_secret::WebhookSecret;

pub use self::{
    build::{Build, BuildId, DeploymentName},
    persist::PersistConfig,
    provider::ProviderConfig,
    queues::Queues,
};
use crate::variables::{
    GENERATE_CONCURRENCY, WEBHOOK_ALLOW, WEBHOOK_PORTS, WORKER_HEARTBEAT_SECONDS, WORKER_QUEUES,
    WORKER_RECYCLE_AFTER, WORKFLOW_TASK_CONCURRENCY,
};

/// Configuration of a worker process.
pub struct Config {
    /// Connection to Temporal.
    pub temporal: TemporalConfig,
    /// Store for media and manifests.
    pub storage: Storage,
    /// The provider, its rate limits, and the policy of submissions.
    pub provider: ProviderConfig,
    /// Task queues that this process polls.
    pub queues: Queues,
    /// Slots for workflow tasks.
    pub workflow_task_concurrency: WorkflowTaskConcurrency,
    /// Slots for submissions, and as many for other calls to the provider.
    pub generate_concurrency: NonZeroUsize,
    /// Limits of moving outputs from the provider to the store.
    pub persist: PersistConfig,
    /// Webhooks to callers.
    pub webhooks: WebhookConfig,
    /// Address of the metrics and readiness endpoints.
    pub metrics_listen: Option<SocketAddr>,
    /// Build of this process, for Worker Versioning.
    pub build: Build,
    /// Number of activities after which the SDK's worker is recycled: it leaks some bytes for each
    /// activity.
    pub recycle_after: NonZeroU64,
    /// Interval of worker heartbeats to Temporal.
    pub heartbeat_interval: HeartbeatInterval,
}

impl Config {
    /// Reads the configuration from the environment.
    ///
    /// # Errors
    /// If a variable is missing or malformed. The message names the variable, the problem and an
    /// example.
    pub async fn from_env() -> Result<Self> {
        Ok(Self {
            queues: WORKER_QUEUES.value()?,
            workflow_task_concurrency: WORKFLOW_TASK_CONCURRENCY.value()?,
            generate_concurrency: GENERATE_CONCURRENCY.value()?,
            persist: PersistConfig::from_env()?,
            webhooks: WebhookConfig {
                secret: DARKROOM_WEBHOOK_SECRET.optional_secret()?,
                ports: WEBHOOK_PORTS.value()?,
                allowed_hosts: WEBHOOK_ALLOW.or(AllowedHosts::default())?,
            },
            provider: ProviderConfig::from_env()?,
            temporal: TemporalConfig::from_env()?,
            storage: Storage::from_env().await?,
            metrics_listen: METRICS_LISTEN.optional()?,
            build: Build::from_env()?,
            heartbeat_interval: WORKER_HEARTBEAT_SECONDS.value()?,
            recycle_after: WORKER_RECYCLE_AFTER.value()?,
        })
    }
}

/// Signing and allowed destinations of webhooks.
pub struct WebhookConfig {
    /// Secret that webhooks are signed with. Without it, none is sent.
    pub secret: Option<WebhookSecret>,
    /// Ports that webhooks may be sent to.
    pub ports: Ports,
    /// Hosts that webhooks may be sent to although their addresses are private.
    pub allowed_hosts: AllowedHosts,
}

/// Concurrency of workflow tasks: at least two, as a worker has a poller for the sticky queue and
/// one for the normal queue, and each poll takes a slot.
#[derive(Clone, Copy, Debug)]
pub struct WorkflowTaskConcurrency(usize);

impl WorkflowTaskConcurrency {
    /// Number of slots.
    #[must_use]
    pub fn get(self) -> usize {
        self.0
    }
}

impl FromStr for WorkflowTaskConcurrency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tasks = text.parse().ok().filter(|tasks| *tasks >= 2);
        tasks.map(Self).ok_or("must be a number of 2 or more")
    }
}

/// Interval of worker heartbeats: 1 to 30 seconds. The api learns from heartbeats which workers are
/// there, so a short interval shortens its wait after a start.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatInterval(u64);

impl HeartbeatInterval {
    /// The interval.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for HeartbeatInterval {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = text
            .parse()
            .ok()
            .filter(|seconds| (1..=30).contains(seconds));
        seconds.map(Self).ok_or("must be 1 to 30 seconds")
    }
}
