//! The worker's configuration, parsed from the environment variables of [`crate::variables`].

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use anyhow::{Result, ensure};
use bytesize::ByteSize;
use darkroom_activities::{
    generate::GenerationPolicy,
    guard::{AllowedHosts, Ports},
    persist::Memory,
};
use darkroom_config::{
    shared::{DARKROOM_PUBLIC_URL, DARKROOM_WEBHOOK_SECRET, METRICS_LISTEN},
    variable::Without,
};
use darkroom_storage::Storage;
use darkroom_temporal::TemporalConfig;
use darkroom_workflows::webhook_secret::WebhookSecret;
use secrecy::SecretString;
use url::Url;

use crate::variables::{
    DARKROOM_DOUBT_BEFORE, GENERATE_CONCURRENCY, LONGEST_GENERATION_SECONDS, MAX_OUTPUT_BYTES,
    PERSIST_CONCURRENCY, PERSIST_MEMORY, PERSIST_STREAM_MAX, REPLICATE_API_TOKEN,
    REPLICATE_BASE_URL, REPLICATE_CREATES_PER_MINUTE, REPLICATE_READS_PER_MINUTE, SOURCE_ALLOW,
    SOURCE_PORTS, SUBMISSION_SEARCH_SECONDS, SUBMISSION_UNKNOWN, WEBHOOK_ALLOW, WEBHOOK_PORTS,
    WORKER_BUILD_ID, WORKER_DEPLOYMENT, WORKER_HEARTBEAT_SECONDS, WORKER_QUEUES,
    WORKER_RECYCLE_AFTER, WORKFLOW_TASK_CONCURRENCY,
};

// `unwrap` of a constant is checked by the compiler.
/// Replicate's rate limits of an account, per minute: creates, and all other calls.
/// <https://replicate.com/docs/topics/predictions/rate-limits>
const REPLICATE_CREATES: NonZeroU32 = NonZeroU32::new(600).unwrap();
const REPLICATE_READS: NonZeroU32 = NonZeroU32::new(3000).unwrap();
const DEFAULT_PERSIST_CONCURRENCY: NonZeroUsize = NonZeroUsize::new(32).unwrap();

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

/// Identity of a worker's code, for Worker Versioning.
/// <https://docs.temporal.io/production-deployment/worker-deployments/worker-versioning>
pub struct Build {
    /// The deployment whose current version receives tasks. Without one, the worker is unversioned
    /// and polls for any task.
    pub deployment: Option<DeploymentName>,
    /// Id of the build.
    pub id: BuildId,
}

/// Name of a worker deployment: 1 to 100 characters without `.` and `:`, as Temporal requires.
/// <https://docs.temporal.io/production-deployment/worker-deployments/worker-versioning>
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeploymentName(String);

/// Id of a build: 1 to 100 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuildId(String);

/// Limits of moving outputs, and the sources that they may be fetched from.
pub struct PersistConfig {
    /// Memory budget of all outputs together, in bytes.
    pub memory: usize,
    /// Outputs that move at a time. Slow ones, which yield their slot, are not counted.
    pub concurrency: NonZeroUsize,
    /// Largest object that is sent in one PUT request. Larger ones use a multipart upload.
    pub stream_max: ByteSize,
    /// Largest output that is accepted.
    pub max_output: ByteSize,
    /// Ports that outputs may be fetched from.
    pub ports: Ports,
    /// Hosts that outputs may be fetched from although their addresses are private.
    pub allowed_hosts: AllowedHosts,
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

/// Replicate, or a provider that speaks its API.
pub struct ProviderConfig {
    /// Base URL of the provider's API, `/v1` included.
    pub base_url: Url,
    /// API token.
    pub token: SecretString,
    /// Public URL of the Darkroom api, which the provider sends its reports to.
    pub public_url: Option<Url>,
    /// Policy of submissions and their deadlines.
    pub policy: GenerationPolicy,
    /// Rate limit of creates per minute, for all workers together. Unlimited if absent.
    pub creates_per_minute: Option<NonZeroU32>,
    /// Rate limit of all other calls per minute, for all workers together. Unlimited if absent.
    pub reads_per_minute: Option<NonZeroU32>,
}

/// Task queues that a process polls: at least one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queues {
    /// Workflows, webhooks, deletions, manifests that the store could not take at once, and calls
    /// to providers.
    pub generate: bool,
    /// The activity `persist`, which moves outputs.
    pub persist: bool,
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
            build: Build {
                deployment: WORKER_DEPLOYMENT.optional()?,
                id: WORKER_BUILD_ID.or(BuildId(env!("CARGO_PKG_VERSION").to_owned()))?,
            },
            heartbeat_interval: WORKER_HEARTBEAT_SECONDS.value()?,
            recycle_after: WORKER_RECYCLE_AFTER.value()?,
        })
    }
}

impl ProviderConfig {
    fn from_env() -> Result<Self> {
        let base_url: Url = REPLICATE_BASE_URL.value()?;
        let public_url: Option<Url> = DARKROOM_PUBLIC_URL.optional()?;
        let is_plain = public_url
            .as_ref()
            .is_some_and(|url| url.scheme() != "https");
        ensure!(
            base_url.scheme() != "https" || !is_plain,
            DARKROOM_PUBLIC_URL.invalid(
                "must be https: the provider reports over https only and would reject each job"
            )
        );
        let is_ours = public_url.as_ref().is_some_and(|url| {
            url.origin() == base_url.origin() && base_url.path().starts_with(url.path())
        });
        ensure!(
            !is_ours,
            REPLICATE_BASE_URL
                .invalid("is Darkroom's own api (DARKROOM_PUBLIC_URL); set the provider's")
        );
        let is_replicate = matches!(REPLICATE_BASE_URL.without, Without::Value(usual) if usual == base_url.as_str());
        Ok(Self {
            creates_per_minute: REPLICATE_CREATES_PER_MINUTE
                .optional()?
                .or(is_replicate.then_some(REPLICATE_CREATES)),
            reads_per_minute: REPLICATE_READS_PER_MINUTE
                .optional()?
                .or(is_replicate.then_some(REPLICATE_READS)),
            base_url,
            token: REPLICATE_API_TOKEN.secret()?,
            public_url,
            policy: GenerationPolicy {
                submission_unknown: SUBMISSION_UNKNOWN.value()?,
                lost_time: DARKROOM_DOUBT_BEFORE.optional()?,
                submission_search_seconds: SUBMISSION_SEARCH_SECONDS.value()?,
                longest_generation: longest_generation()?,
            },
        })
    }
}

fn longest_generation() -> Result<Duration> {
    /// Range in seconds: `Cancel-After` of Replicate takes 5 or more, and the workflow waits for
    /// one day at most.
    const ALLOWED: RangeInclusive<u64> = 5..=24 * 60 * 60;
    let seconds = LONGEST_GENERATION_SECONDS.value()?;
    ensure!(
        ALLOWED.contains(&seconds),
        LONGEST_GENERATION_SECONDS.invalid("must be 5 to 86400")
    );
    Ok(Duration::from_secs(seconds))
}

impl PersistConfig {
    fn from_env() -> Result<Self> {
        /// Smallest budget: half of it holds two buffers, so that one can fill while the other is
        /// being sent.
        const LEAST_MEMORY: ByteSize = ByteSize::mib(32);
        /// Largest object that S3 accepts in one PUT request.
        const MOST_STREAMED: ByteSize = ByteSize::gib(5);
        let memory: ByteSize = PERSIST_MEMORY.value()?;
        ensure!(
            memory >= LEAST_MEMORY,
            PERSIST_MEMORY.invalid(format!("must be {LEAST_MEMORY} at least"))
        );
        let stream_max = PERSIST_STREAM_MAX.value()?;
        ensure!(
            stream_max <= MOST_STREAMED,
            PERSIST_STREAM_MAX.invalid(format!("must be {MOST_STREAMED} at most"))
        );
        let memory = usize::try_from(memory.as_u64()).unwrap_or(usize::MAX);
        let most = Memory::most_at_a_time(memory);
        let concurrency = match PERSIST_CONCURRENCY.optional()? {
            Some(concurrency) => concurrency,
            None => DEFAULT_PERSIST_CONCURRENCY
                .min(NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN)),
        };
        ensure!(
            concurrency.get() <= most,
            PERSIST_CONCURRENCY.invalid(format!(
                "must be {most} at most, one for each 4 MiB of PERSIST_MEMORY"
            ))
        );
        Ok(Self {
            memory,
            concurrency,
            stream_max,
            max_output: MAX_OUTPUT_BYTES.value()?,
            ports: SOURCE_PORTS.value()?,
            allowed_hosts: SOURCE_ALLOW.or(AllowedHosts::default())?,
        })
    }
}

impl DeploymentName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeploymentName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BuildId::from_str(text)?;
        if text.contains(['.', ':']) {
            return Err("must be without . and :");
        }
        Ok(Self(text.to_owned()))
    }
}

impl BuildId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BuildId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("__") || text.len() > 100 || text.contains(char::is_whitespace) {
            return Err("must be up to 100 characters without spaces, and not begin with __");
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Queues {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut queues = Self {
            generate: false,
            persist: false,
        };
        for name in text.split(',') {
            match name.trim() {
                "generate" => queues.generate = true,
                "persist" => queues.persist = true,
                _ => return Err("must be generate, persist or both with a comma between"),
            }
        }
        Ok(queues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_are_named_as_temporal_has_it() {
        assert!("darkroom".parse::<DeploymentName>().is_ok());
        for bad in ["a.b", "a:b", "__a", "a b"] {
            assert!(bad.parse::<DeploymentName>().is_err(), "{bad}");
        }
        assert!("0.1.0+3f2a9c1".parse::<BuildId>().is_ok());
    }

    #[test]
    fn queues_parse() {
        assert_eq!(
            "generate".parse(),
            Ok(Queues {
                generate: true,
                persist: false
            })
        );
        assert_eq!(
            "persist, generate".parse(),
            Ok(Queues {
                generate: true,
                persist: true
            })
        );
        assert!("".parse::<Queues>().is_err());
        assert!("generate,render".parse::<Queues>().is_err());
    }
}
