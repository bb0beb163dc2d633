//! The guard against server-side request forgery: whatever is fetched on someone's word goes to public addresses only. It
//! judges an address that is about to be connected to, not one that was looked up before: the resolver that it gives to
//! the HTTP client yields public addresses or none, and literal addresses are judged with their URL. Redirects are to be
//! judged hop by hop, so the HTTP client must not follow them itself.
//!
//! - [`address`]: which addresses are public
//! - `resolver`: names to public addresses
//!
//! <https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html>

pub mod address;

mod resolver;

use std::{net::IpAddr, str::FromStr, sync::Arc};

use reqwest::{Client, ClientBuilder, redirect};
use url::{Host, Url};

pub use self::resolver::Resolver;

/// Which URLs may be fetched.
#[derive(Clone, Debug)]
pub struct Guard {
    ports: Ports,
    allowed: AllowedHosts,
    resolver: Resolver,
}

/// The guard does not let a URL pass. The message names no address that a name resolved to: that would map our network.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Forbidden {
    /// Neither `http` nor `https`.
    #[error("the scheme {0:?} is not allowed; http and https are")]
    Scheme(String),
    /// A name and a password within the URL.
    #[error("a URL with a user name or a password is not allowed")]
    UserInfo,
    /// A port that nobody serves media on.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// A literal address that is not public.
    #[error("{0} is not a public address")]
    Address(IpAddr),
    /// A name that leads to no public address.
    #[error("the host {0:?} has no public address")]
    Name(String),
}

/// How a URL that passes is to be connected to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Passage {
    /// Through the guarded resolver.
    Public,
    /// By any resolver: the operator has named this host and port.
    Allowed,
}

impl Guard {
    /// A guard that lets these ports of public hosts pass, and these hosts whatever their addresses are.
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
    /// If it must not be fetched.
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

/// HTTP clients behind a guard: each connects directly, one hop at a time.
#[derive(Clone, Debug)]
pub struct Clients {
    guard: Guard,
    /// Connects to public addresses only.
    public: Client,
    /// Connects to what the operator has named.
    allowed: Client,
}

impl Clients {
    /// Sets them up, each from a builder of the caller's.
    ///
    /// # Errors
    /// If they cannot be.
    pub fn new(guard: Guard, builder: impl Fn() -> ClientBuilder) -> Result<Self, reqwest::Error> {
        let direct = || {
            builder()
                .redirect(redirect::Policy::none())
                .referer(false)
                .no_proxy()
        };
        let public = direct()
            .dns_resolver(Arc::new(guard.resolver.clone()))
            .build()?;
        Ok(Self {
            public,
            allowed: direct().build()?,
            guard,
        })
    }

    /// The client by which a URL may be asked for.
    ///
    /// # Errors
    /// If it may not be.
    pub fn client(&self, url: &Url) -> Result<&Client, Forbidden> {
        Ok(match self.guard.judge(url)? {
            Passage::Public => &self.public,
            Passage::Allowed => &self.allowed,
        })
    }
}

/// Finds what the guard said in the depths of an HTTP client's error.
#[must_use]
pub fn verdict(error: &reqwest::Error) -> Option<&Forbidden> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(forbidden) = error.downcast_ref() {
            return Some(forbidden);
        }
        source = error.source();
    }
    None
}

/// The ports that may be connected to.
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
            .map_err(|_| "must be port numbers with commas between")
    }
}

/// Hosts, each with a port, that pass although they are private.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedHosts(Vec<(String, u16)>);

impl FromStr for AllowedHosts {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be host:port with commas between";
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
