//! What the api is told by its environment.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use darkroom_config::{Storage, Variable, temporal::TemporalConfig};
use url::Url;

use crate::webhooks::WebhookSecret;

const DARKROOM_LISTEN: Variable = Variable::new("DARKROOM_LISTEN", "127.0.0.1:8080");
const DARKROOM_ALLOW_ANONYMOUS: Variable = Variable::new("DARKROOM_ALLOW_ANONYMOUS", "true");
const DARKROOM_PUBLIC_URL: Variable = Variable::new("DARKROOM_PUBLIC_URL", "https://darkroom.example.com");
const DARKROOM_TEMPORAL_UI: Variable = Variable::new("DARKROOM_TEMPORAL_UI", "http://127.0.0.1:8233");
const REPLICATE_WEBHOOK_SECRET: Variable = Variable::new("REPLICATE_WEBHOOK_SECRET", "whsec_…");

/// How long a call to Temporal is tried again before the caller is told to come back.
const TEMPORAL_PATIENCE: Duration = Duration::from_secs(2);

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
    /// The base of links into the Temporal UI.
    pub temporal_ui: Option<Url>,
    /// What signs the provider's reports.
    pub webhook_secret: Option<WebhookSecret>,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// If a variable is missing or malformed; the message names it, its problem and an example.
    pub async fn from_env() -> Result<Self> {
        let listen = DARKROOM_LISTEN.or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))?;
        if !listen.ip().is_loopback() && !DARKROOM_ALLOW_ANONYMOUS.or(false)? {
            let problem = format!("{listen} can be reached by others, and whoever reaches it can spend your money");
            let remedy = "listen on loopback behind a proxy that checks callers, or set DARKROOM_ALLOW_ANONYMOUS=true";
            return Err(DARKROOM_LISTEN.invalid(format!("{problem}; {remedy}")).into());
        }
        Ok(Self {
            listen,
            temporal: TemporalConfig::from_env()?.with_patience(TEMPORAL_PATIENCE),
            storage: Storage::from_env().await?,
            public_url: match DARKROOM_PUBLIC_URL.optional()? {
                Some(url) => url,
                None => format!("http://{listen}").parse()?,
            },
            temporal_ui: DARKROOM_TEMPORAL_UI.optional()?,
            webhook_secret: REPLICATE_WEBHOOK_SECRET.optional_secret()?,
        })
    }
}
