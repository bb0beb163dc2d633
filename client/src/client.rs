//! The client: base URL, API key and connection pool. Its operations are in `jobs.rs`, `keys.rs`,
//! `webhooks.rs`, `events.rs` and `download.rs`.

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder,
    header::{AUTHORIZATION, HeaderValue},
    redirect::Policy,
};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::Error;

/// Timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle timeout of a response, its head included: longer than the api lets a request wait (60 s),
/// and five heartbeats of an event stream.
const READ_TIMEOUT: Duration = Duration::from_secs(75);

/// Retry budget by default.
const RETRY_BUDGET: Duration = Duration::from_secs(90);

/// Client of one api, with one API key. Clones share their connection pool.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// Client for loopback addresses, which a proxy would resolve to itself.
    direct: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    retry_budget: Duration,
}

/// Builder of a [`Client`].
#[derive(Debug)]
pub struct Builder {
    url: Url,
    api_key: Option<SecretString>,
}

impl Client {
    /// Returns a builder of a client for the api at this base URL, such as
    /// `https://darkroom.example.com`.
    #[must_use]
    pub fn builder(url: Url) -> Builder {
        Builder { url, api_key: None }
    }

    /// Sets the retry budget: the total time that a call waits between its attempts, 90 s by
    /// default.
    #[must_use]
    pub fn with_retry_budget(mut self, budget: Duration) -> Self {
        self.retry_budget = budget;
        self
    }

    pub(crate) fn retry_budget(&self) -> Duration {
        self.retry_budget
    }

    /// Base URL of the api.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Builds a request to a URL of the api, with the API key, for operations that have no method
    /// here.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client_for(&url).request(method, url);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    /// Builds a request to another server, which must not see the API key.
    pub(crate) fn get_without_key(&self, url: Url) -> RequestBuilder {
        self.client_for(&url).get(url)
    }

    fn client_for(&self, url: &Url) -> &reqwest::Client {
        if is_loopback(url) {
            &self.direct
        } else {
            &self.http
        }
    }

    /// URL of a path below the api's base URL.
    #[must_use]
    pub fn url_of(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        // Every URL with a host has path segments, and `Builder::build` checks for a host.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

impl Builder {
    /// Sets the API key.
    #[must_use]
    pub fn api_key(mut self, api_key: impl Into<SecretString>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// Builds the client. No request is sent yet.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the base URL is not `http` or `https` or has a user name or a
    /// password, or if the key has characters that no API key has.
    pub fn build(self) -> Result<Client, Error> {
        let Self { mut url, api_key } = self;
        let is_address = ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none();
        if !is_address {
            let rule = "the URL of an api begins with http:// or https:// and has no user name";
            return Err(Error::Configuration(rule.to_owned()));
        }
        url.set_query(None);
        url.set_fragment(None);
        let built = |http: reqwest::ClientBuilder| {
            let http = http.build();
            http.map_err(|error| Error::Configuration(error.to_string()))
        };
        Ok(Client {
            http: built(http())?,
            direct: built(http().no_proxy())?,
            authorization: api_key.as_ref().map(authorization).transpose()?,
            url,
            retry_budget: RETRY_BUDGET,
        })
    }
}

fn http() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("darkroom-client/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        // A redirected POST would become a GET, which is another operation here.
        .redirect(Policy::none())
}

fn authorization(api_key: &SecretString) -> Result<HeaderValue, Error> {
    let api_key = api_key.expose_secret().trim();
    let mut value = HeaderValue::try_from(format!("Bearer {api_key}")).map_err(|_| {
        let rule = "an API key consists of visible ASCII characters";
        Error::Configuration(rule.to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, Error> {
        Client::builder(url.parse().unwrap()).build()
    }

    #[test]
    fn the_base_url_may_have_a_path() {
        for (base, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/jobs"),
            (
                "https://example.com/media/",
                "https://example.com/media/v1/jobs",
            ),
            (
                "https://example.com/media?x#y",
                "https://example.com/media/v1/jobs",
            ),
        ] {
            assert_eq!(
                client(base).unwrap().url_of(&["v1", "jobs"]).as_str(),
                expected
            );
        }
    }

    #[test]
    fn invalid_base_urls_are_refused() {
        for url in [
            "ftp://example.com",
            "data:x",
            "https://me:secret@example.com",
        ] {
            assert!(client(url).is_err(), "{url}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let builder = Client::builder("http://127.0.0.1".parse().unwrap()).api_key("dk_hidden");
        assert!(!format!("{builder:?}").contains("hidden"));
        let client = builder.build().unwrap();
        assert!(!format!("{client:?}").contains("hidden"));
    }
}
