//! Configuration of the api from the environment.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use anyhow::Result;
use darkroom_config::{
    InvalidVariable,
    shared::{DARKROOM_PUBLIC_URL, DARKROOM_WEBHOOK_SECRET, METRICS_LISTEN},
};
use darkroom_storage::{Storage, variables::S3_PUBLIC_ENDPOINT};
use darkroom_temporal::TemporalConfig;
use darkroom_workflows::{request::ExpireAfterSeconds, webhook_secret::WebhookSecret};
use url::Url;

use crate::{
    access::{ApiKeys, Hosts, Processes, TrustedProxies, is_loopback},
    middleware::cors::Origins,
    server::IdleTimeout,
    variables::{
        DARKROOM_ALLOW_ANONYMOUS, DARKROOM_API_KEYS, DARKROOM_API_PROCESSES, DARKROOM_CONNECTIONS,
        DARKROOM_CORS_ORIGINS, DARKROOM_EXPIRE_AFTER_SECONDS, DARKROOM_IDLE_TIMEOUT_SECONDS,
        DARKROOM_LISTEN, DARKROOM_OPEN_JOBS, DARKROOM_PAGE, DARKROOM_REQUESTS_PER_SECOND,
        DARKROOM_TEMPORAL_UI, DARKROOM_TRUSTED_PROXIES, REPLICATE_WEBHOOK_SECRET,
    },
};

/// Time for which a call to Temporal is retried before the caller gets an error and a
/// `Retry-After`.
const TEMPORAL_RETRY_TIMEOUT: Duration = Duration::from_secs(2);

/// File descriptors needed beside client connections: to Temporal, to the store, logs.
const OTHER_FILES: usize = 128;

/// The api's configuration.
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Connection to Temporal.
    pub temporal: TemporalConfig,
    /// Object store of media and manifests.
    pub storage: Storage,
    /// Base of this api's own URLs; if absent, the address that it listens on. The workers read the
    /// same variable, `DARKROOM_PUBLIC_URL`.
    pub public_url: Option<Url>,
    /// Base of links into the Temporal UI.
    pub temporal_ui: Option<Url>,
    /// Secret that the provider signs its reports with.
    pub replicate_secret: Option<WebhookSecret>,
    /// Secret from which the webhook secret of each tenant is derived.
    pub webhook_secret: Option<WebhookSecret>,
    /// API keys that the operator lists. If there are none, all callers are admitted.
    pub keys: ApiKeys,
    /// Hosts by which callers may address the api.
    pub(crate) hosts: Hosts,
    /// Origins whose pages may call (CORS).
    pub origins: Origins,
    /// Number of api processes that share the limits.
    pub(crate) processes: Processes,
    /// Rate limit of each tenant, in requests a second.
    pub requests_per_second: NonZeroU32,
    /// Limit of open jobs per tenant.
    pub open_jobs: u64,
    /// Time from the end of a job to its deletion, unless the job sets its own; without it, jobs
    /// stay.
    pub expire_after: Option<ExpireAfterSeconds>,
    /// Address for Prometheus and an orchestrator's probes, apart from callers.
    pub metrics_listen: Option<SocketAddr>,
    /// True if the web page is served at `/`.
    pub has_page: bool,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    pub(crate) idle_timeout: IdleTimeout,
    connections: NonZeroUsize,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// If a variable is missing or malformed; the message names it, its problem and an example.
    pub async fn from_env() -> Result<Self> {
        let listen = DARKROOM_LISTEN.value::<SocketAddr>()?;
        let keys = DARKROOM_API_KEYS
            .optional_secret::<ApiKeys>()?
            .unwrap_or_default();
        let is_for_everyone: bool = DARKROOM_ALLOW_ANONYMOUS.value()?;
        if !listen.ip().is_loopback() && keys.is_empty() && !is_for_everyone {
            let problem = format!(
                "{listen} is reachable from other machines, and anyone who reaches it can spend your money"
            );
            let remedy = "set API keys (DARKROOM_API_KEYS), listen on loopback behind a proxy that checks callers, \
                          or set DARKROOM_ALLOW_ANONYMOUS=true";
            return Err(DARKROOM_LISTEN
                .invalid(format!("{problem}; {remedy}"))
                .into());
        }
        let public_url: Option<Url> = DARKROOM_PUBLIC_URL.optional()?;
        let storage = Storage::from_env().await?;
        let mut temporal_ui: Option<Url> = DARKROOM_TEMPORAL_UI.optional()?;
        if let Some(public_url) = public_url.as_ref().filter(|url| is_public(url)) {
            check_reach(public_url, storage.presign_endpoint.as_ref())?;
            temporal_ui = temporal_ui.filter(|ui| {
                let is_reached = !is_loopback(ui);
                if !is_reached {
                    tracing::warn!(%ui, "jobs get no link to the Temporal UI: DARKROOM_TEMPORAL_UI is a loopback address");
                }
                is_reached
            });
        }
        let hosts = if keys.is_empty() && !is_for_everyone {
            let public = public_url.as_ref().and_then(Url::host);
            Hosts::Local {
                public: public.map(|host| host.to_owned()),
            }
        } else {
            Hosts::Any
        };
        Ok(Self {
            listen,
            keys,
            hosts,
            origins: DARKROOM_CORS_ORIGINS.or(Origins::default())?,
            requests_per_second: DARKROOM_REQUESTS_PER_SECOND.value()?,
            processes: Processes(DARKROOM_API_PROCESSES.value()?),
            open_jobs: DARKROOM_OPEN_JOBS.value()?,
            expire_after: DARKROOM_EXPIRE_AFTER_SECONDS.optional()?,
            metrics_listen: METRICS_LISTEN.optional()?,
            has_page: DARKROOM_PAGE.value()?,
            trusted_proxies: DARKROOM_TRUSTED_PROXIES.value()?,
            idle_timeout: DARKROOM_IDLE_TIMEOUT_SECONDS.value()?,
            connections: DARKROOM_CONNECTIONS.value()?,
            temporal: TemporalConfig::from_env()?.with_retry_timeout(TEMPORAL_RETRY_TIMEOUT),
            storage,
            public_url,
            temporal_ui,
            replicate_secret: REPLICATE_WEBHOOK_SECRET.optional_secret()?,
            webhook_secret: DARKROOM_WEBHOOK_SECRET.optional_secret()?,
        })
    }

    /// Returns the limit of connections: as configured, or fewer if the system has fewer file
    /// descriptors.
    pub(crate) fn connections(&self) -> usize {
        let wanted = self.connections.get();
        match rlimit::increase_nofile_limit(u64::try_from(wanted + OTHER_FILES).unwrap_or(u64::MAX))
        {
            Ok(files) => wanted
                .min(
                    usize::try_from(files)
                        .unwrap_or(usize::MAX)
                        .saturating_sub(OTHER_FILES),
                )
                .max(1),
            // The system has no such limit.
            Err(_) => wanted,
        }
    }
}

/// Returns true if callers on other machines can reach this api by the URL.
fn is_public(url: &Url) -> bool {
    url.scheme() == "https" && !is_loopback(url)
}

/// Checks that callers who reach this api can also reach the outputs, by the URLs that it returns.
fn check_reach(public_url: &Url, presign_endpoint: Option<&Url>) -> Result<(), InvalidVariable> {
    let Some(url) = presign_endpoint else {
        return Ok(());
    };
    if is_loopback(url) {
        let problem =
            format!("{url} is a loopback address, but callers are elsewhere: {public_url}");
        return Err(S3_PUBLIC_ENDPOINT.invalid(problem));
    }
    if url.scheme() == "http" {
        tracing::warn!(%url, "URLs of outputs are http but the api is https: browsers block them; set S3_PUBLIC_ENDPOINT to an https URL");
    }
    Ok(())
}
