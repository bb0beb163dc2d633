//! Tests of the guard on real connections: every URL is fetched by the client that fetches outputs,
//! while listeners on all addresses of this machine count connections.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use darkroom_workflows::failure::FailureType;
use futures::future::join_all;
use hickory_resolver::{
    config::{NameServerConfig, ResolverConfig},
    proto::{
        op::{Message, OpCode},
        rr::{
            RData, Record, RecordType,
            rdata::{A, AAAA},
        },
    },
};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::persist::{Sources, source::Limits};

/// Addresses that must not be connected to, as they are written in a URL.
const FORBIDDEN_ADDRESSES: [&str; 105] = [
    // this network, loopback
    "0.0.0.0",
    "0.0.0.1",
    "0.255.255.255",
    "127.0.0.1",
    "127.0.0.2",
    "127.1.2.3",
    "127.255.255.255",
    // the same in other notations
    "127.1",
    "127.0.1",
    "0",
    "0x7f.1",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "2130706433",
    "0x7f.0.0.1",
    "127.0.0.1.",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "%31%32%37.0.0.1",
    // private
    "10.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.0",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.1.1",
    "192.168.255.255",
    "0xa.0.0.1",
    "167772161",
    // carrier-grade NAT, link-local, metadata
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.255.255",
    "0xa9fea9fe",
    "2852039166",
    "168.63.129.16",
    // protocols, documentation, benchmarks
    "192.0.0.0",
    "192.0.0.170",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.0",
    "192.0.2.255",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    // multicast, reserved, broadcast
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    // IPv6
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::2]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fdff::1]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[ff00::1]",
    "[ff02::1]",
    "[ff0e::1]",
    "[100::1]",
    "[5f00::1]",
    "[2001::1]",
    "[2001:2::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[2001:1ff::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[3fff:fff::1]",
    "[2620:4f:8000::1]",
    "[4000::1]",
    "[8000::1]",
    "[1fff::1]",
    // IPv4 within IPv6
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a00:1::1]",
    "[2002:a9fe:a9fe::1]",
    "[2002:c0a8:101::]",
    "[2001:0:7f00:1::]",
];

/// URLs that must not be fetched for another reason; `PORT` is the port of the listeners.
const FORBIDDEN_URLS: [&str; 37] = [
    "ftp://example.com/a",
    "file:///etc/passwd",
    "gopher://example.com/",
    "dict://example.com:11211/",
    "ldap://example.com/",
    "ws://example.com/",
    "wss://example.com/",
    "javascript:alert(1)",
    "blob:https://example.com/a",
    "about:blank",
    "unix:///var/run/docker.sock",
    "jar:https://example.com/a!/b",
    "ssh://example.com",
    "mailto:a@example.com",
    "s3://bucket/key",
    "http://user@127.0.0.1:PORT/",
    "http://user:password@127.0.0.1:PORT/",
    "http://:password@127.0.0.1:PORT/",
    "http://example.com@127.0.0.1:PORT/",
    "http://example.com:80@127.0.0.1:PORT/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:6379/",
    "http://example.com:0/",
    "https://example.com:8443/",
    "http://example.com:65535/",
    "http://example.com:9200/",
    "http://example.com:2375/",
    "http://example.com:11211/",
    "http://example.com:3306/",
    "http:\\\\127.0.0.1:PORT\\",
    "http:127.0.0.1:PORT",
    "http:/127.0.0.1:PORT",
    "http:///127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#@example.com/",
    "http://127.0.0.1:PORT?@example.com/",
    "\thttp://127.0.0.1:PORT/",
];

/// Names that the test resolver maps to forbidden addresses, as [`addresses`] lists them.
const FORBIDDEN_NAMES: [&str; 14] = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "foo.localhost",
    "v4-7f000001.test",
    "v4-0a000001.test",
    "v4-a9fea9fe.test",
    "v4-00000000.test",
    "v6-loopback.test",
    "v6-mapped.test",
    "v6-nat64.test",
    "v6-unique-local.test",
    "two-private.test",
    "\u{ff36}4-7f000001.test",
];

const PUBLIC_ADDRESSES: [&str; 18] = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "198.17.255.255",
    "223.255.255.255",
    "[2606:4700:4700::1111]",
    "[2a00:1450:4001::1]",
    "[64:ff9b::808:808]",
    "[::ffff:8.8.8.8]",
];

/// Listeners on all addresses of this machine, and the number of connections to them.
struct Listeners {
    port: u16,
    connections: Arc<AtomicU32>,
}

impl Listeners {
    async fn start() -> Self {
        let connections = Arc::new(AtomicU32::new(0));
        // With IPv6, this listener takes both families.
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap(),
        };
        let port = listener.local_addr().unwrap().port();
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, connections }
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Returns the addresses of a name at lookup number `turn`, counted from 0.
fn addresses(name: &str, turn: u32) -> Vec<IpAddr> {
    let public = IpAddr::V6("2606:4700:4700::1111".parse().unwrap());
    match name.trim_end_matches('.').to_ascii_lowercase().as_str() {
        "v6-loopback.test" => vec![Ipv6Addr::LOCALHOST.into()],
        "v6-mapped.test" => vec!["::ffff:127.0.0.1".parse().unwrap()],
        "v6-nat64.test" => vec!["64:ff9b::7f00:1".parse().unwrap()],
        "v6-unique-local.test" => vec!["fd00::1".parse().unwrap()],
        "two-private.test" => vec![
            Ipv4Addr::new(10, 0, 0, 1).into(),
            Ipv4Addr::LOCALHOST.into(),
        ],
        "mixed.test" => vec![public, Ipv4Addr::LOCALHOST.into()],
        "flips.test" if turn.is_multiple_of(2) => vec![public],
        "flips.test" => vec![Ipv4Addr::LOCALHOST.into()],
        name => match name
            .strip_prefix("v4-")
            .and_then(|name| name.strip_suffix(".test"))
        {
            Some(bits) => vec![Ipv4Addr::from_bits(u32::from_str_radix(bits, 16).unwrap()).into()],
            None => vec![],
        },
    }
}

/// Starts a name server on loopback whose answers have a TTL of 0, and returns its resolver.
async fn resolver() -> Resolver {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
    server.connections[0].port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        let mut queries = 0;
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = Message::response(query.metadata.id, OpCode::Query);
            let asked = query.queries[0].clone();
            // A and AAAA records are queried together.
            let turn = queries / 2;
            queries += 1;
            for address in addresses(&asked.name().to_ascii(), turn) {
                let data = match (address, asked.query_type()) {
                    (IpAddr::V4(address), RecordType::A) => RData::A(A(address)),
                    (IpAddr::V6(address), RecordType::AAAA) => RData::AAAA(AAAA(address)),
                    _ => continue,
                };
                answer.add_answer(Record::from_rdata(asked.name().clone(), 0, data));
            }
            answer.add_query(asked);
            socket
                .send_to(&answer.to_vec().unwrap(), from)
                .await
                .unwrap();
        }
    });
    Resolver::with_config(ResolverConfig::from_parts(None, vec![], vec![server])).unwrap()
}

async fn sources(ports: &str, allowed: AllowedHosts) -> Sources {
    let guard = Guard::new(ports.parse().unwrap(), allowed, resolver().await);
    let limits = Limits {
        silence: Duration::from_millis(300),
        ..Limits::of(1024)
    };
    Sources::new(guard, limits).unwrap()
}

async fn refusal(sources: &Sources, url: &str) -> FailureType {
    let refused = sources.open(url, None).await.expect_err(url);
    refused.into_failure().kind().unwrap()
}

#[tokio::test]
async fn forbidden_addresses_are_not_connected_to() {
    let listeners = Listeners::start().await;
    let port = listeners.port;
    let sources = sources(&format!("80,443,{port}"), AllowedHosts::default()).await;
    let literal = FORBIDDEN_ADDRESSES.iter().chain(&FORBIDDEN_NAMES);
    let urls = literal.flat_map(|host| {
        [
            format!("http://{host}:{port}/a"),
            format!("https://{host}:{port}/a"),
        ]
    });
    let mut tried = 0;
    for url in urls.chain(
        FORBIDDEN_URLS
            .iter()
            .map(|url| url.replace("PORT", &port.to_string())),
    ) {
        let kind = refusal(&sources, &url).await;
        assert!(
            matches!(
                kind,
                FailureType::SourceForbidden | FailureType::SourceRejected
            ),
            "{url}: {kind}"
        );
        tried += 1;
    }
    assert!(tried >= 150, "{tried}");
    assert_eq!(listeners.connections(), 0);
}

#[tokio::test]
async fn redirects_to_forbidden_addresses_are_not_followed() {
    let listeners = Listeners::start().await;
    let host = redirecting(format!("http://127.0.0.1:{}/", listeners.port)).await;
    let sources = sources(
        &format!("80,443,{}", listeners.port),
        host.to_string().parse().unwrap(),
    )
    .await;
    assert_eq!(
        refusal(&sources, &format!("http://{host}/a")).await,
        FailureType::SourceForbidden
    );
    assert_eq!(listeners.connections(), 0);
}

#[tokio::test]
async fn dns_rebinding_is_blocked() {
    let listeners = Listeners::start().await;
    let port = listeners.port.to_string();
    // Side by side, as a public address that is out of reach takes until the timeout.
    let rounds = (0..5).map(async |_| {
        let sources = sources(&port, AllowedHosts::default()).await;
        let mut kinds = Vec::new();
        for name in ["flips.test", "flips.test", "mixed.test"].repeat(2) {
            kinds.push(refusal(&sources, &format!("http://{name}:{port}/")).await);
        }
        kinds
    });
    let kinds = join_all(rounds).await.concat();
    for kind in &kinds {
        // The public address is out of reach, or refuses.
        assert!(
            matches!(
                kind,
                FailureType::SourceForbidden | FailureType::SourceUnavailable
            ),
            "{kind}"
        );
    }
    let refusals = kinds
        .iter()
        .filter(|kind| **kind == FailureType::SourceForbidden);
    let refusals = refusals.count();
    assert!(refusals >= 4, "the name never led to us: {refusals}");
    assert_eq!(listeners.connections(), 0);
}

#[tokio::test]
async fn the_listeners_count_connections() {
    let listeners = Listeners::start().await;
    let allowed = format!("127.0.0.1:{}", listeners.port);
    let sources = sources("80", allowed.parse().unwrap()).await;
    assert_eq!(
        refusal(&sources, &format!("http://{allowed}/")).await,
        FailureType::SourceUnavailable
    );
    assert_eq!(listeners.connections(), 1);
    // Another port of the same host is still forbidden.
    let other = listeners.port ^ 1;
    assert_eq!(
        refusal(&sources, &format!("http://127.0.0.1:{other}/")).await,
        FailureType::SourceForbidden
    );
}

#[tokio::test]
async fn public_addresses_pass() {
    let guard = Guard::new(Ports::default(), AllowedHosts::default(), resolver().await);
    for host in PUBLIC_ADDRESSES {
        for url in [
            format!("http://{host}/a?b"),
            format!("https://{host}/"),
            format!("https://{host}:443/"),
        ] {
            assert_eq!(
                guard.judge(&url.parse().unwrap()),
                Ok(Passage::Public),
                "{url}"
            );
        }
    }
}

#[test]
fn configuration_parses() {
    assert_eq!("80, 8443".parse(), Ok(Ports(vec![80, 8443])));
    assert!("80,x".parse::<Ports>().is_err());
    assert!("".parse::<Ports>().is_err());
    let hosts = "127.0.0.1:9100, files.internal:443,[::1]:80"
        .parse::<AllowedHosts>()
        .unwrap();
    assert_eq!(hosts.0.len(), 3);
    assert_eq!(hosts.0[1], ("files.internal".to_owned(), 443));
    for text in [
        "",
        "files.internal",
        "http://files.internal:80",
        "a:b",
        "user@host:80",
        "host:80/path",
    ] {
        assert!(text.parse::<AllowedHosts>().is_err(), "{text}");
    }
}

/// Starts a host that redirects all requests to `to`.
async fn redirecting(to: String) -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = socket.read(&mut request).await;
            let answer =
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    address
}
