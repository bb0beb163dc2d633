//! The api that a command calls, and the key that it sends: from arguments, the environment, a
//! profile, or the default of `cargo run`.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, Result};
use darkroom_client::Client;
use url::Url;

use super::profile::Profiles;

/// URL that `cargo run` listens at by default.
pub(crate) const USUAL: &str = "http://127.0.0.1:8080";

/// Retry budget of a command: a person waits, and the api may be restarting.
const RETRY_BUDGET: Duration = Duration::from_secs(10);

/// Options that select the api and the key.
#[derive(clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Base URL of the api. Default: the profile's, or <http://127.0.0.1:8080>.
    #[arg(long, env = "DARKROOM_URL", global = true, value_name = "URL")]
    url: Option<OrEmpty<Url>>,
    /// API key. Better set by the environment or a profile: arguments are visible to every user of
    /// the machine.
    #[arg(
        long,
        env = "DARKROOM_API_KEY",
        global = true,
        hide_env_values = true,
        value_name = "KEY"
    )]
    api_key: Option<OrEmpty<String>>,
    /// Profile. Default: the current one.
    #[arg(long, env = "DARKROOM_PROFILE", global = true, value_name = "NAME")]
    profile: Option<OrEmpty<String>>,
}

/// Value of an option, or nothing: a variable that is set and empty counts as not set, as in a CI
/// job without a secret.
#[derive(Clone)]
struct OrEmpty<T>(Option<T>);

impl<T: FromStr> FromStr for OrEmpty<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|value| Self(Some(value)))
    }
}

fn given<T>(option: Option<&OrEmpty<T>>) -> Option<&T> {
    option?.0.as_ref()
}

impl Connection {
    /// Builds a client of the selected api.
    pub(super) fn client(&self) -> Result<Client> {
        let url = given(self.url.as_ref());
        let profile = match (given(self.profile.as_ref()), url) {
            (Some(name), _) => Some(Profiles::read()?.named(name)?.clone()),
            // A URL given explicitly must not receive the key of another api.
            (None, Some(_)) => None,
            (None, None) => Profiles::read()?.in_use()?.cloned(),
        };
        let of_profile = profile.as_ref().map(|profile| profile.url.clone());
        let url = match url.cloned().or(of_profile.clone()) {
            Some(url) => url,
            None => USUAL.parse()?,
        };
        // The key of a profile is sent to the profile's api only.
        let api_key = match (given(self.api_key.as_ref()), profile) {
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
