//! Hosts by which an api without keys may be called. A page of another site can have a name that
//! resolves to this machine (DNS rebinding), and would be as good as a page of this api.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response,
    http::{header::HOST, uri::Authority},
};
use url::{Host, Url};

use crate::problem::{Kind, Problem};

/// Hosts by which callers may address the api.
#[derive(Clone, Debug)]
pub(crate) enum Hosts {
    /// Any: the api checks keys, or is meant for everyone who reaches it.
    Any,
    /// This machine, and the host of the public URL if there is one.
    Local { public: Option<Host> },
}

impl Hosts {
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let name = host_of(request).unwrap_or_default();
        // A load balancer's probe may send no host.
        if self.contain(name) || request.uri().path() == "/healthz" {
            return Ok(());
        }
        let detail = "without API keys, requests must be addressed to localhost or to the host of DARKROOM_PUBLIC_URL";
        Err(Problem::new(Kind::Forbidden, detail))
    }

    fn contain(&self, name: &str) -> bool {
        let Self::Local { public } = self else {
            return true;
        };
        let url = Url::parse(&format!("http://{name}"));
        url.is_ok_and(|url| {
            is_loopback(&url)
                || public.is_some() && url.host().map(|host| host.to_owned()) == *public
        })
    }
}

/// Admits requests that are addressed to one of the hosts.
pub(crate) async fn admit<E: Endpoint>(
    hosts: Arc<Hosts>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    hosts.check(&request)?;
    next.call(request).await.map(IntoResponse::into_response)
}

/// Returns the host, with its port, that a request is addressed to.
pub(crate) fn host_of(request: &Request) -> Option<&str> {
    let authority = request.uri().authority().map(Authority::as_str);
    authority.or_else(|| request.headers().get(HOST)?.to_str().ok())
}

/// Returns true if a URL is of the machine that follows it.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_machines_are_not_local() {
        let public = Host::parse("media.example").unwrap();
        let hosts = Hosts::Local {
            public: Some(public),
        };
        for name in [
            "localhost",
            "localhost:8080",
            "api.localhost",
            "127.0.0.1:8080",
            "[::1]:8080",
            "media.example:443",
            "MEDIA.example",
        ] {
            assert!(hosts.contain(name), "{name}");
        }
        for name in [
            "evil.example",
            "localhost.evil.example",
            "192.0.2.1",
            "a@evil.example",
            "",
        ] {
            assert!(!hosts.contain(name), "{name}");
            assert!(Hosts::Any.contain(name));
        }
        assert!(!Hosts::Local { public: None }.contain("media.example"));
    }
}
