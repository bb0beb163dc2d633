//! The guard against server-side request forgery (SSRF): URLs from outside are fetched from public
//! addresses only. It judges the address that is about to be connected to, not one that was looked
//! up before: the resolver that it gives to the HTTP client returns public addresses or none, and
//! literal addresses are judged with their URL. Redirects must be judged hop by hop, so the HTTP
//! client must not follow them itself.
//!
//! - [`address`]: public addresses, and special-purpose ones
//! - `resolver`: resolves names to public addresses
//! - [`verbatim`]: URLs that are sent byte by byte as they were given
//!
//! <https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html>

pub mod address;
pub mod verbatim;

mod resolver;

use std::{error::Error, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use darkroom_workflows::failure::chain;
use reqwest::{Client, ClientBuilder, Response, header::HeaderMap, redirect};
use url::{Host, Url};

pub use self::resolver::Resolver;
use self::verbatim::{Address, VerbatimClient};

/// `User-Agent` of all requests.
const USER_AGENT: &str = concat!("darkroom/", env!("CARGO_PKG_VERSION"));

/// Time for which an idle connection is kept. Callers choose the hosts, so there may be as many as
/// they like, and each connection takes a file descriptor.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Rules for the URLs that may be requested.
#[derive(Clone, Debug)]
pub struct Guard {
    ports: Ports,
    allowed: AllowedHosts,
    resolver: Resolver,
}

/// Reason for which the guard rejects a URL. The message names no address that a name resolved to:
/// that would map the internal network.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Forbidden {
    /// Neither `http` nor `https`.
    #[error("the scheme {0:?} is not allowed; http and https are")]
    Scheme(String),
    /// A user name or a password in the URL.
    #[error("a URL with a user name or a password is not allowed")]
    UserInfo,
    /// A port that is not among the allowed ones.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// A literal address that is not public.
    #[error("{0} is not a public address")]
    Address(IpAddr),
    /// A name that resolves to no public address.
    #[error("the host {0:?} has no public address")]
    Name(String),
}

/// Way to connect to a URL that the guard accepts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Passage {
    /// Through the guarded resolver.
    Public,
    /// By any resolver: the operator has allowed this host and port.
    Allowed,
}

impl Guard {
    /// Creates a guard that accepts these ports of public hosts, and these hosts whatever their
    /// addresses are.
    #[must_use]
    pub fn new(ports: Ports, allowed: AllowedHosts, resolver: Resolver) -> Self {
        Self {
            ports,
            allowed,
            resolver,
        }
    }

    /// Judges a URL, and its host if that is a literal address.
    ///
    /// # Errors
    /// If the URL must not be requested.
    pub fn judge(&self, url: &Url) -> Result<Passage, Forbidden> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Forbidden::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::UserInfo);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if self
            .allowed
            .0
            .iter()
            .any(|(host, allowed)| Some(host.as_str()) == url.host_str() && *allowed == port)
        {
            return Ok(Passage::Allowed);
        }
        if !self.ports.0.contains(&port) {
            return Err(Forbidden::Port(port));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(Forbidden::Name(String::new())),
        };
        match literal {
            Some(address) if !address::is_public(address) => Err(Forbidden::Address(address)),
            Some(_) | None => Ok(Passage::Public),
        }
    }
}

/// HTTP clients behind a guard. They use no proxy and follow no redirects.
#[derive(Clone, Debug)]
pub struct Clients {
    guard: Guard,
    /// Connects to public addresses only.
    public: Client,
    /// Connects to hosts that the operator has allowed.
    allowed: Client,
    /// The same two for URLs that are sent as they were given.
    public_verbatim: VerbatimClient,
    allowed_verbatim: VerbatimClient,
}

/// Reason for which a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The guard rejects the URL.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The URL cannot be sent.
    #[error("{0}")]
    Unsendable(String),
    /// No response came.
    #[error("{0}")]
    Unanswered(String),
}

impl From<reqwest::Error> for RequestError {
    fn from(error: reqwest::Error) -> Self {
        let is_unsendable = error.is_builder();
        // The URL stays out of the message: it may carry a signature.
        let error = error.without_url();
        match find_forbidden(&error) {
            Some(forbidden) => Self::Forbidden(forbidden.clone()),
            None if is_unsendable => Self::Unsendable(chain(&error)),
            None => Self::Unanswered(chain(&error)),
        }
    }
}

impl From<hyper_util::client::legacy::Error> for RequestError {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        match find_forbidden(&error) {
            Some(forbidden) => Self::Forbidden(forbidden.clone()),
            None => Self::Unanswered(chain(&error)),
        }
    }
}

/// Reason for which the HTTP clients cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Error of `reqwest`.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    /// The verifier of certificates cannot be created.
    #[error("certificates cannot be verified: {0}")]
    Certificates(String),
}

impl Clients {
    /// Creates the clients, each from a new builder.
    ///
    /// # Errors
    /// If a client cannot be created.
    pub fn new(guard: Guard, builder: impl Fn() -> ClientBuilder) -> Result<Self, SetupError> {
        let direct = || {
            builder()
                .user_agent(USER_AGENT)
                .redirect(redirect::Policy::none())
                .referer(false)
                .no_proxy()
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        };
        let public = direct()
            .dns_resolver(Arc::new(guard.resolver.clone()))
            .build()?;
        Ok(Self {
            public,
            allowed: direct().build()?,
            public_verbatim: VerbatimClient::new(Some(guard.resolver.clone()))?,
            allowed_verbatim: VerbatimClient::new(None)?,
            guard,
        })
    }

    /// Requests a URL, as it was given.
    ///
    /// # Errors
    /// If the guard rejects it, or there is no response.
    pub async fn get(
        &self,
        address: &Address,
        headers: HeaderMap,
    ) -> Result<Response, RequestError> {
        let url = address.url.clone();
        let passage = self.guard.judge(&url)?;
        if let Some(uri) = address.verbatim() {
            let client = match passage {
                Passage::Public => &self.public_verbatim,
                Passage::Allowed => &self.allowed_verbatim,
            };
            return Ok(client.get(uri, url, headers).await?);
        }
        Ok(self.of(passage).get(url).headers(headers).send().await?)
    }

    /// Returns the client with which a URL may be requested.
    ///
    /// # Errors
    /// If the guard rejects it.
    pub fn client(&self, url: &Url) -> Result<&Client, Forbidden> {
        Ok(self.of(self.guard.judge(url)?))
    }

    fn of(&self, passage: Passage) -> &Client {
        match passage {
            Passage::Public => &self.public,
            Passage::Allowed => &self.allowed,
        }
    }
}

/// Finds the guard's error among the sources of an HTTP client's error.
#[must_use]
pub fn find_forbidden<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Forbidden> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(forbidden) = error.downcast_ref() {
            return Some(forbidden);
        }
        source = error.source();
    }
    None
}

/// Ports that may be connected to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ports(Vec<u16>);

impl Default for Ports {
    fn default() -> Self {
        Self(vec![80, 443])
    }
}

impl FromStr for Ports {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ports = text.split(',').map(|port| port.trim().parse::<u16>());
        ports
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|_| "must be port numbers separated by commas")
    }
}

/// Hosts with a port that are allowed although they are private.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedHosts(Vec<(String, u16)>);

impl FromStr for AllowedHosts {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be host:port entries separated by commas";
        let host = |entry: &str| {
            let url: Url = format!("https://{}", entry.trim()).parse().ok()?;
            let (_, port) = entry.trim().rsplit_once(':')?;
            let is_bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
            is_bare.then_some(())?;
            Some((url.host_str()?.to_owned(), port.parse().ok()?))
        };
        text.split(',')
            .map(host)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(FORM)
    }
}

#[cfg(test)]
mod tests;
