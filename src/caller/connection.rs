//! Which api a command calls, and as whom: by its arguments, the environment, a profile, or what
//! plain `cargo run` starts.

use std::time::Duration;

use anyhow::{Context, Result};
use darkroom_client::Client;
use url::Url;

use super::profile::Profiles;

/// Where `cargo run` listens.
pub(crate) const USUAL: &str = "http://127.0.0.1:8080";

/// Retry budget while a person waits for an api that may be restarting.
const RETRY_BUDGET: Duration = Duration::from_secs(10);

/// Where to call, and as whom.
#[derive(clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Where the api is; if not said, as the profile has it, or <http://127.0.0.1:8080>.
    #[arg(long, env = "DARKROOM_URL", global = true, value_name = "URL")]
    url: Option<Url>,
    /// The API key. Better in the environment or a profile: arguments are seen by all who use the
    /// machine.
    #[arg(
        long,
        env = "DARKROOM_API_KEY",
        global = true,
        hide_env_values = true,
        value_name = "KEY"
    )]
    api_key: Option<String>,
    /// The profile; if not said, the one in use.
    #[arg(long, env = "DARKROOM_PROFILE", global = true, value_name = "NAME")]
    profile: Option<String>,
}

impl Connection {
    /// A client of it.
    pub(super) fn client(&self) -> Result<Client> {
        let profiles = Profiles::read()?;
        let profile = match (&self.profile, &self.url) {
            (Some(name), _) => Some(profiles.named(name)?),
            // Whoever names an api does not mean another one's key.
            (None, Some(_)) => None,
            (None, None) => profiles.in_use()?,
        };
        let of_profile = profile.map(|profile| profile.url.clone());
        let url = match self.url.clone().or(of_profile.clone()) {
            Some(url) => url,
            None => USUAL.parse()?,
        };
        // A key of a profile goes nowhere but to the profile's api.
        let api_key = match (&self.api_key, profile) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(profile)) if of_profile.as_ref() == Some(&url) => profile.api_key.clone(),
            _ => None,
        };
        let builder = Client::builder(url);
        let builder = match api_key {
            Some(key) if !key.is_empty() => builder.api_key(key),
            _ => builder,
        };
        let client = builder.build().context("cannot call the api")?;
        Ok(client.with_retry_budget(RETRY_BUDGET))
    }
}
