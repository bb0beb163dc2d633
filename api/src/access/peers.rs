//! Limits per client address, for what needs no key. Behind trusted proxies, the address that they
//! forward counts.

use std::{net::IpAddr, num::NonZeroU32, str::FromStr, sync::Arc};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use poem::{Addr, Endpoint, IntoResponse, Request, Response, http::HeaderMap};

use super::{
    limits::{Processes, wait_time},
    sender::{Sender, SenderCell},
    shares::Shares,
};
use crate::problem::{Kind, Problem};

/// Limits of request body bytes in flight, of all senders and of one. Reports of providers, which
/// have no key, have a limit of their own, so that strangers cannot keep callers from sending; one
/// address may send two of the largest.
const BODIES: usize = 64 * 1024 * 1024;
const BODIES_OF_SENDER: usize = 16 * 1024 * 1024;

/// Limits of response body bytes in flight, of all senders and of one: a client that does not read
/// its responses keeps them in memory. Those of clients without a key have a limit of their own.
const RESPONSES: usize = 128 * 1024 * 1024;
const RESPONSES_OF_SENDER: usize = 16 * 1024 * 1024;

/// Divisor of the limit of connections that yields the limit of one peer: an eighth.
const CONNECTIONS_OF_PEER: usize = 8;

/// Rate limit of unknown keys that a peer may try, per second.
const UNKNOWN_KEY_RATE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Limit of peers that a rate limiter remembers before it evicts those that are idle.
const MAX_PEERS: usize = 10_000;

/// Client by its IPv4 address, or by its IPv6 network, as one client can have all addresses of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Peer(IpAddr);

impl Peer {
    /// Returns the peer of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            // The /64 prefix is the network.
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                std::net::Ipv6Addr::from(network).into()
            }
        })
    }
}

/// Proxies whose `X-Forwarded-For` is trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Error of a text that is not a list of networks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is neither an address nor a network such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

impl FromStr for TrustedProxies {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let networks = text.split(',').map(str::trim);
        let networks = networks.filter(|name| !name.is_empty() && *name != "none");
        networks
            .map(|name| {
                let network = name.parse().ok();
                let network = network.or_else(|| name.parse().ok().map(IpAddr::into));
                network.ok_or_else(|| InvalidNetwork(name.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl TrustedProxies {
    fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Limits per peer.
pub(crate) struct Peers {
    trusted: TrustedProxies,
    requests: DefaultKeyedRateLimiter<Peer>,
    strangers: DefaultKeyedRateLimiter<Peer>,
    pub(crate) connections: Arc<Shares>,
    pub(crate) bodies: Arc<Shares>,
    pub(crate) reports: Arc<Shares>,
    responses: Arc<Shares>,
    responses_without_key: Arc<Shares>,
}

impl Peers {
    /// Creates the limits of each peer: requests a second without a key, divided among the
    /// processes, and a fraction of the connections.
    pub(crate) fn new(
        trusted: TrustedProxies,
        requests_per_second: NonZeroU32,
        connections: usize,
        processes: Processes,
    ) -> Self {
        let per_second = |of_all| RateLimiter::keyed(Quota::per_second(processes.share(of_all)));
        Self {
            trusted,
            requests: per_second(requests_per_second),
            strangers: per_second(UNKNOWN_KEY_RATE),
            connections: Shares::new(
                usize::MAX,
                (connections / CONNECTIONS_OF_PEER).max(CONNECTIONS_OF_PEER),
            ),
            bodies: Shares::new(BODIES, BODIES_OF_SENDER),
            reports: Shares::new(BODIES, BODIES_OF_SENDER),
            responses: Shares::new(RESPONSES, RESPONSES_OF_SENDER),
            responses_without_key: Shares::new(RESPONSES, RESPONSES_OF_SENDER),
        }
    }

    /// Returns the peer of a connection; none for a trusted proxy.
    pub(crate) fn connected(&self, address: IpAddr) -> Option<Peer> {
        let is_trusted = self.trusted.contain(address);
        (!is_trusted).then(|| Peer::of(address))
    }

    /// Returns the peer of a request. Behind a trusted proxy it is the last forwarded address that
    /// is not one of a trusted proxy; none if the proxy does not forward one.
    pub(crate) fn calling(&self, request: &Request) -> Option<Peer> {
        match &**request.remote_addr() {
            Addr::SocketAddr(address) => self.caller(address.ip(), request.headers()),
            Addr::Unix(_) | Addr::Custom(..) => None,
        }
    }

    fn caller(&self, connected: IpAddr, headers: &HeaderMap) -> Option<Peer> {
        if let Some(peer) = self.connected(connected) {
            return Some(peer);
        }
        let headers = headers.get_all("x-forwarded-for").iter();
        // The beginning of a header is the client's, which may not be text.
        let addresses = headers.flat_map(|header| header.as_bytes().split(|byte| *byte == b','));
        let addresses: Vec<_> = addresses
            .map(|address| forwarded(std::str::from_utf8(address).ok()?))
            .collect();
        let addresses = addresses.into_iter().rev();
        let mut others = addresses
            .skip_while(|address| address.is_some_and(|address| self.trusted.contain(address)));
        others.next().flatten().map(Peer::of)
    }

    /// Counts a request without a key.
    ///
    /// # Errors
    /// If the peer exceeds its rate limit, or does not read its responses.
    pub(crate) fn request(&self, peer: Option<Peer>) -> Result<(), Problem> {
        check(&self.requests, peer, "too many requests without a key")?;
        self.check_responses(peer.map(Sender::Peer).as_ref())
    }

    /// Returns the limits of response body bytes in flight for a sender.
    pub(crate) fn responses(&self, sender: Option<&Sender>) -> &Arc<Shares> {
        match sender {
            Some(Sender::Tenant(_)) => &self.responses,
            Some(Sender::Peer(_)) | None => &self.responses_without_key,
        }
    }

    /// Checks that a sender reads its responses. An unknown sender, such as a trusted proxy that
    /// probes, is always served.
    ///
    /// # Errors
    /// If too many bytes of responses wait for it.
    pub(super) fn check_responses(&self, sender: Option<&Sender>) -> Result<(), Problem> {
        let Some(sender) = sender else {
            return Ok(());
        };
        if self.responses(Some(sender)).is_exhausted(sender) {
            let detail = "too many bytes of earlier responses wait for you to read them";
            return Err(Problem::new(Kind::RateLimited, detail).retry_after(1));
        }
        Ok(())
    }

    /// Counts an attempt with an unknown key.
    ///
    /// # Errors
    /// If the peer exceeds its rate limit.
    pub(crate) fn unknown_key(&self, peer: Option<Peer>) -> Result<(), Problem> {
        check(&self.strangers, peer, "too many unknown keys")
    }
}

fn check(
    limiter: &DefaultKeyedRateLimiter<Peer>,
    peer: Option<Peer>,
    what: &str,
) -> Result<(), Problem> {
    let Some(peer) = peer else {
        return Ok(());
    };
    if limiter.len() > MAX_PEERS {
        limiter.retain_recent();
    }
    limiter.check_key(&peer).map_err(|until| {
        let detail = format!("{what} come from your address");
        Problem::new(Kind::RateLimited, detail).retry_after(wait_time(&until))
    })
}

/// Parses an address as proxies forward it: bare, with a port, or in brackets.
fn forwarded(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || {
        text.parse()
            .ok()
            .map(|address: std::net::SocketAddr| address.ip())
    };
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(with_port)
}

/// Admits requests with a key, which are limited per tenant, and others within the rate limit of
/// their peer.
pub(crate) async fn admit<E: Endpoint>(
    peers: Arc<Peers>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let peer = peers.calling(&request);
    if let Some(peer) = peer {
        SenderCell::of(&request).set(Sender::Peer(peer));
    }
    if !comes_with_key(&request) {
        peers.request(peer)?;
    }
    next.call(request).await.map(IntoResponse::into_response)
}

/// Returns true if a request has a key, and its route checks keys.
fn comes_with_key(request: &Request) -> bool {
    let path = request.uri().path();
    let takes_key = path.starts_with("/v1/") && !path.starts_with("/v1/webhooks/replicate/");
    takes_key && request.headers().contains_key("authorization")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variables::DARKROOM_TRUSTED_PROXIES;

    #[test]
    fn trusted_proxies_name_the_caller() {
        let peers = |trusted: &str| {
            let (one, processes) = (NonZeroU32::MIN, Processes(NonZeroU32::MIN));
            Peers::new(trusted.parse().unwrap(), one, 1, processes)
        };
        let behind = peers("10.0.0.0/8, 2001:db8::1");
        for (remote, forwarded, expected) in [
            ("203.0.113.1", None, Some("203.0.113.1")),
            ("203.0.113.1", Some("198.51.100.1"), Some("203.0.113.1")),
            ("10.1.2.3", None, None),
            ("10.1.2.3", Some("198.51.100.1"), Some("198.51.100.1")),
            ("2001:db8::1", Some("198.51.100.1:80"), Some("198.51.100.1")),
            (
                "10.1.2.3",
                Some("1.1.1.1, 198.51.100.1, 10.9.9.9"),
                Some("198.51.100.1"),
            ),
            ("10.1.2.3", Some("1.1.1.1, unknown"), None),
            ("10.1.2.3", Some("ÿ, 198.51.100.1"), Some("198.51.100.1")),
            (
                "10.1.2.3",
                Some("[2001:db8:1:2:3:4:5:6]:443"),
                Some("2001:db8:1:2::"),
            ),
            (
                "::ffff:10.1.2.3",
                Some("198.51.100.1"),
                Some("198.51.100.1"),
            ),
        ] {
            let remote: IpAddr = remote.parse().unwrap();
            let mut headers = HeaderMap::new();
            if let Some(forwarded) = forwarded {
                headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            }
            let expected = expected.map(|address| Peer(address.parse().unwrap()));
            let caller = behind.caller(remote, &headers);
            assert_eq!(caller, expected, "{remote} {forwarded:?}");
        }
        let local = "127.0.0.1".parse().unwrap();
        assert_eq!(peers("none").connected(local), Some(Peer(local)));
        let default = DARKROOM_TRUSTED_PROXIES.value::<TrustedProxies>().unwrap();
        assert!(default.contain(local));
        assert_eq!(
            "a".parse::<TrustedProxies>(),
            Err(InvalidNetwork("a".to_owned()))
        );
    }
}
