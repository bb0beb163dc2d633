//! What the api is told by its environment.

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
use url::{Host, Url};

use crate::{
    access::{ApiKeys, Processes, TrustedProxies},
    middleware::cors::Origins,
    variables::{
        DARKROOM_ALLOW_ANONYMOUS, DARKROOM_API_KEYS, DARKROOM_API_PROCESSES, DARKROOM_CONNECTIONS,
        DARKROOM_CORS_ORIGINS, DARKROOM_EXPIRE_AFTER_SECONDS, DARKROOM_LISTEN, DARKROOM_OPEN_JOBS,
        DARKROOM_PAGE, DARKROOM_REQUESTS_PER_SECOND, DARKROOM_TEMPORAL_UI,
        DARKROOM_TRUSTED_PROXIES, REPLICATE_WEBHOOK_SECRET,
    },
};

/// How long a call to Temporal is tried again before the caller is told to come back.
const TEMPORAL_RETRY_TIMEOUT: Duration = Duration::from_secs(2);

/// How many files we may have open beside connections: to Temporal, to the store, logs.
const OTHER_FILES: usize = 128;

/// The api's configuration.
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where Temporal is.
    pub temporal: TemporalConfig,
    /// Where media and manifests lie.
    pub storage: Storage,
    /// The base of links to ourselves.
    pub public_url: Url,
    /// Whether others were told of that base: the workers read the same variable.
    pub is_public: bool,
    /// The base of links into the Temporal UI.
    pub temporal_ui: Option<Url>,
    /// What signs the provider's reports.
    pub replicate_secret: Option<WebhookSecret>,
    /// What the secrets of those who are told of the ends of jobs are made of.
    pub webhook_secret: Option<WebhookSecret>,
    /// Who may call; everybody if there are none.
    pub keys: ApiKeys,
    /// Whose pages may call.
    pub origins: Origins,
    /// How many api processes serve together.
    pub(crate) processes: Processes,
    /// How many requests a second each tenant may make.
    pub requests_per_second: NonZeroU32,
    /// How many jobs of a tenant may be open.
    pub open_jobs: u64,
    /// How long after their end jobs are deleted that do not say so themselves; they stay if absent.
    pub expire_after: Option<ExpireAfterSeconds>,
    /// Where Prometheus and an orchestrator ask, apart from callers.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether there is a page at `/`.
    pub has_page: bool,
    /// Whose word is taken for who calls.
    pub trusted_proxies: TrustedProxies,
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
        if !listen.ip().is_loopback()
            && keys.is_empty()
            && !DARKROOM_ALLOW_ANONYMOUS.value::<bool>()?
        {
            let problem = format!(
                "{listen} can be reached by others, and whoever reaches it can spend your money"
            );
            let remedy = "give out API keys (DARKROOM_API_KEYS), listen on loopback behind a proxy that checks callers, \
                          or set DARKROOM_ALLOW_ANONYMOUS=true";
            return Err(DARKROOM_LISTEN
                .invalid(format!("{problem}; {remedy}"))
                .into());
        }
        let public_url: Option<Url> = DARKROOM_PUBLIC_URL.optional()?;
        let storage = Storage::from_env().await?;
        let mut temporal_ui: Option<Url> = DARKROOM_TEMPORAL_UI.optional()?;
        if let Some(public_url) = public_url.as_ref().filter(|url| is_public(url)) {
            check_reach(public_url, storage.signed_for.as_ref())?;
            temporal_ui = temporal_ui.filter(|ui| {
                let is_reached = !is_loopback(ui);
                if !is_reached {
                    tracing::warn!(%ui, "jobs have no link into the Temporal UI: DARKROOM_TEMPORAL_UI is this machine alone");
                }
                is_reached
            });
        }
        Ok(Self {
            listen,
            keys,
            is_public: public_url.is_some(),
            origins: DARKROOM_CORS_ORIGINS.or(Origins::default())?,
            requests_per_second: DARKROOM_REQUESTS_PER_SECOND.value()?,
            processes: Processes(DARKROOM_API_PROCESSES.value()?),
            open_jobs: DARKROOM_OPEN_JOBS.value()?,
            expire_after: DARKROOM_EXPIRE_AFTER_SECONDS.optional()?,
            metrics_listen: METRICS_LISTEN.optional()?,
            has_page: DARKROOM_PAGE.value()?,
            trusted_proxies: DARKROOM_TRUSTED_PROXIES.value()?,
            connections: DARKROOM_CONNECTIONS.value()?,
            temporal: TemporalConfig::from_env()?.with_retry_timeout(TEMPORAL_RETRY_TIMEOUT),
            storage,
            public_url: match public_url {
                Some(url) => url,
                None => format!("http://{listen}").parse()?,
            },
            temporal_ui,
            replicate_secret: REPLICATE_WEBHOOK_SECRET.optional_secret()?,
            webhook_secret: DARKROOM_WEBHOOK_SECRET.optional_secret()?,
        })
    }

    /// How many connections to hold: as many as are wanted, and as the system has files for.
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
            // A system without such a limit.
            Err(_) => wanted,
        }
    }
}

/// Whether callers elsewhere reach us by this URL.
fn is_public(url: &Url) -> bool {
    url.scheme() == "https" && !is_loopback(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Whether callers who reach us reach the outputs that we lead them to.
fn check_reach(public_url: &Url, signed_for: Option<&Url>) -> Result<(), InvalidVariable> {
    let Some(url) = signed_for else {
        return Ok(());
    };
    if is_loopback(url) {
        let problem =
            format!("{url} is this machine alone, and callers are elsewhere: {public_url}");
        return Err(S3_PUBLIC_ENDPOINT.invalid(problem));
    }
    if url.scheme() == "http" {
        tracing::warn!(%url, "outputs are led to over http from pages over https: browsers show none; set S3_PUBLIC_ENDPOINT");
    }
    Ok(())
}
