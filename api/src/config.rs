//! What the api is told by its environment.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use anyhow::Result;
use darkroom_config::{InvalidVariable, Variable, temporal::TemporalConfig};
use darkroom_storage::Storage;
use darkroom_workflows::{request::ExpireAfterSeconds, webhook_secret::WebhookSecret};
use url::{Host, Url};

use crate::{
    access::{ApiKeys, Processes, TrustedProxies},
    middleware::cors::Origins,
};

const DARKROOM_LISTEN: Variable = Variable::new("DARKROOM_LISTEN", "127.0.0.1:8080");
const DARKROOM_API_KEYS: Variable = Variable::new("DARKROOM_API_KEYS", "acme:0123…cdef");
const DARKROOM_ALLOW_ANONYMOUS: Variable = Variable::new("DARKROOM_ALLOW_ANONYMOUS", "true");
const DARKROOM_CORS_ORIGINS: Variable =
    Variable::new("DARKROOM_CORS_ORIGINS", "https://app.example.com");
const DARKROOM_REQUESTS_PER_SECOND: Variable = Variable::new("DARKROOM_REQUESTS_PER_SECOND", "100");
const DARKROOM_OPEN_JOBS: Variable = Variable::new("DARKROOM_OPEN_JOBS", "10000");
const DARKROOM_EXPIRE_AFTER_SECONDS: Variable =
    Variable::new("DARKROOM_EXPIRE_AFTER_SECONDS", "2592000");
const DARKROOM_API_PROCESSES: Variable = Variable::new("DARKROOM_API_PROCESSES", "3");
const DARKROOM_CONNECTIONS: Variable = Variable::new("DARKROOM_CONNECTIONS", "4096");
const DARKROOM_TRUSTED_PROXIES: Variable = Variable::new("DARKROOM_TRUSTED_PROXIES", "10.0.0.0/8");
const DARKROOM_PUBLIC_URL: Variable =
    Variable::new("DARKROOM_PUBLIC_URL", "https://darkroom.example.com");
const DARKROOM_TEMPORAL_UI: Variable =
    Variable::new("DARKROOM_TEMPORAL_UI", "http://127.0.0.1:8233");
const S3_PUBLIC_ENDPOINT: Variable =
    Variable::new("S3_PUBLIC_ENDPOINT", "https://media.example.com");
const DARKROOM_WEBHOOK_SECRET: Variable = Variable::new("DARKROOM_WEBHOOK_SECRET", "whsec_…");
const METRICS_LISTEN: Variable = Variable::new("METRICS_LISTEN", "0.0.0.0:9464");
const REPLICATE_WEBHOOK_SECRET: Variable = Variable::new("REPLICATE_WEBHOOK_SECRET", "whsec_…");

/// How long a call to Temporal is tried again before the caller is told to come back.
const TEMPORAL_PATIENCE: Duration = Duration::from_secs(2);

/// How many files we may have open beside connections: to Temporal, to the store, logs.
const OTHER_FILES: usize = 128;

// None of them can be zero, which the compiler checks.
const DEFAULT_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const DEFAULT_REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();

const DEFAULT_OPEN_JOBS: u64 = 10_000;

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
        let listen = DARKROOM_LISTEN.or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))?;
        let keys = DARKROOM_API_KEYS
            .optional_secret::<ApiKeys>()?
            .unwrap_or_default();
        if !listen.ip().is_loopback() && keys.is_empty() && !DARKROOM_ALLOW_ANONYMOUS.or(false)? {
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
            requests_per_second: DARKROOM_REQUESTS_PER_SECOND.or(DEFAULT_REQUESTS_PER_SECOND)?,
            processes: Processes(DARKROOM_API_PROCESSES.or(NonZeroU32::MIN)?),
            open_jobs: DARKROOM_OPEN_JOBS.or(DEFAULT_OPEN_JOBS)?,
            expire_after: DARKROOM_EXPIRE_AFTER_SECONDS.optional()?,
            metrics_listen: METRICS_LISTEN.optional()?,
            trusted_proxies: DARKROOM_TRUSTED_PROXIES.or(TrustedProxies::default())?,
            connections: DARKROOM_CONNECTIONS.or(DEFAULT_CONNECTIONS)?,
            temporal: TemporalConfig::from_env()?.with_patience(TEMPORAL_PATIENCE),
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
