//! URLs that are sent byte by byte as they were given. A URL is parsed to be judged, and the parser
//! rewrites some of it: quotes in a query, dots in a path. If a signature covers those bytes, the
//! host needs them as they were given. The scheme and the host are always the parsed ones: those
//! were judged.

use std::{
    error::Error,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, header, uri::PathAndQuery};
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use reqwest::{Body, ResponseBuilderExt};
use tower_service::Service;
use url::{Position, Url};

use super::{Resolver, SetupError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A URL, with the part of it that is sent as it was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The parsed URL, which is judged and connected to.
    pub url: Url,
    /// Path and query of the URL as they were given, if the parser has rewritten them.
    verbatim: Option<PathAndQuery>,
}

impl Address {
    /// Parses an absolute URL; `None` if it is invalid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url: Url = text.parse().ok()?;
        let verbatim = verbatim(text, &url);
        Some(Self { url, verbatim })
    }

    /// Resolves a redirect from this URL; `None` if it leads to no URL.
    #[must_use]
    pub fn join(&self, location: &str) -> Option<Self> {
        let url = self.url.join(location).ok()?;
        let verbatim = verbatim(location, &url);
        Some(Self { url, verbatim })
    }

    /// Returns the URI to send, if `reqwest` would send another one.
    pub(crate) fn verbatim(&self) -> Option<Uri> {
        let target = self.verbatim.clone()?;
        let authority = &self.url[Position::BeforeHost..Position::AfterPort];
        let uri = Uri::builder().scheme(self.url.scheme());
        uri.authority(authority).path_and_query(target).build().ok()
    }
}

/// Returns the path and the query of a text, if they differ from those of the URL that was parsed
/// from it, and can be sent.
fn verbatim(text: &str, url: &Url) -> Option<PathAndQuery> {
    // The parser takes a backslash for a slash. It drops some bytes that are not visible ASCII, and
    // the others have more than one encoding.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    {
        return None;
    }
    let target = match text.split_once("://") {
        // A host must follow: parsers repair a URL without one.
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(url.scheme()) && !rest.starts_with('/') =>
        {
            &rest[rest.find(['/', '?', '#'])?..]
        }
        _ if text.starts_with('/') && !text.starts_with("//") => text,
        _ => return None,
    };
    let target = target.split('#').next()?;
    let is_other = target != &url[Position::BeforePath..Position::AfterQuery];
    (target.starts_with('/') && is_other)
        .then(|| target.parse().ok())
        .flatten()
}

/// Requests URLs as they were given, over HTTP/1.1.
#[derive(Clone, Debug)]
pub(super) struct VerbatimClient {
    client: legacy::Client<HttpsConnector<HttpConnector<ConnectorResolver>>, Empty<Bytes>>,
}

impl VerbatimClient {
    /// Creates a client that connects to the addresses of this resolver, or of the system's.
    pub(super) fn new(resolver: Option<Resolver>) -> Result<Self, SetupError> {
        let mut http = HttpConnector::new_with_resolver(ConnectorResolver(resolver));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .try_with_platform_verifier()
            .map_err(|error| SetupError::Certificates(error.to_string()))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(super::POOL_IDLE_TIMEOUT)
            .build(https);
        Ok(Self { client })
    }

    /// Requests a URI, and returns the response as `reqwest` does.
    pub(super) async fn get(
        &self,
        uri: Uri,
        url: Url,
        headers: HeaderMap,
    ) -> Result<reqwest::Response, legacy::Error> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let user_agent = header::HeaderValue::from_static(super::USER_AGENT);
        request.headers_mut().insert(header::USER_AGENT, user_agent);
        let (parts, body) = self.client.request(request).await?.into_parts();
        let mut response = Response::from_parts(parts, Body::wrap(body));
        // A response of `reqwest` has its URL, which HTTP does not send.
        if let Ok(marked) = Response::builder().url(url).body(()) {
            response
                .extensions_mut()
                .extend(marked.into_parts().0.extensions);
        }
        Ok(response.into())
    }
}

/// Resolves names for the connector.
#[derive(Clone, Debug)]
struct ConnectorResolver(Option<Resolver>);

type Found = std::vec::IntoIter<SocketAddr>;
type Finding = Pin<Box<dyn Future<Output = Result<Found, Box<dyn Error + Send + Sync>>> + Send>>;

impl Service<Name> for ConnectorResolver {
    type Response = Found;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Finding;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Finding {
        let resolver = self.0.clone();
        Box::pin(async move {
            if let Some(resolver) = resolver {
                return resolver.find(name.as_str()).await.map(Vec::into_iter);
            }
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.collect::<Vec<_>>().into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_sent_verbatim() {
        let sent = |text: &str| {
            let address = Address::parse(text).unwrap();
            address.verbatim().map(|uri| uri.to_string())
        };
        for text in [
            "https://cdn.example.com/a?name='it'",
            "https://cdn.example.com:8443/a/../b?x=%2e",
            "https://cdn.example.com/%2e%2e/b",
            "http://[2606:4700::1111]/a?filename='x'|{y}",
        ] {
            assert_eq!(sent(text).as_deref(), Some(text));
        }
        for text in [
            "https://cdn.example.com",
            "https://cdn.example.com?x",
            "https://cdn.example.com/a?b=%27c#'",
            // More than one encoding, parsed differently elsewhere, or not allowed in a request.
            "https://cdn.example.com/a?b=\"c\"",
            "https://cdn.example.com/a b",
            "https://cdn.example.com\\@10.0.0.1/'?'",
            "https://cdn.example.com/\u{e9}?'",
            "https:///cdn.example.com/?'",
        ] {
            assert_eq!(sent(text), None, "{text}");
        }
        // The host that is connected to was judged.
        let odd = sent("HTTPS://user@CDN.example.com:443/?'");
        assert_eq!(odd.as_deref(), Some("https://cdn.example.com/?'"));
    }

    #[test]
    fn redirects_are_followed_verbatim() {
        let from = Address::parse("https://cdn.example.com/a").unwrap();
        for (location, expected) in [
            ("/b?x='y'", Some("https://cdn.example.com/b?x='y'")),
            (
                "https://other.example.com/?'",
                Some("https://other.example.com/?'"),
            ),
            ("//other.example.com/?'", None),
            ("1x://other.example.com/?'", None),
            ("c?x='y'", None),
        ] {
            let to = from.join(location).unwrap();
            assert_eq!(
                to.verbatim().map(|uri| uri.to_string()).as_deref(),
                expected
            );
        }
    }
}
