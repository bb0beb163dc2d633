//! Cross-origin access (CORS) for the origins that the operator configures.

use std::sync::Arc;

use poem::{
    Endpoint, Request,
    http::{HeaderName, Method, header::ORIGIN},
    middleware::Cors,
};
use url::{Origin, Url};

use crate::access::host_of;

/// Origins whose pages may call: exactly these.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

impl std::str::FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let origin = |entry: &str| {
            let url: Url = entry
                .trim()
                .parse()
                .map_err(|error| format!("{entry:?}: {error}"))?;
            match url.origin() {
                origin @ Origin::Tuple(..) if origin.ascii_serialization() == entry.trim() => {
                    Ok(entry.trim().to_owned())
                }
                _ => Err(format!(
                    "{entry:?} must be an origin such as https://app.example.com"
                )),
            }
        };
        text.split(',')
            .map(origin)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Origins {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the layer that allows the origins, and exposes the headers that clients need.
    pub(crate) fn cors(&self, public_url: &Url) -> Cors {
        const EXPOSED: [&str; 7] = [
            "etag",
            "idempotent-replayed",
            "location",
            "preference-applied",
            "retry-after",
            "www-authenticate",
            "x-request-id",
        ];
        Cors::new()
            .allow_origins(&self.0)
            // The web page of this api calls it as well, by this name or by another one:
            // `same_origin`.
            .allow_origin(public_url.origin().ascii_serialization())
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([
                "authorization",
                "content-type",
                "idempotency-key",
                "if-none-match",
                "last-event-id",
                "prefer",
                "x-request-id",
            ])
            .expose_headers(EXPOSED.map(HeaderName::from_static))
            .allow_credentials(false)
            .max_age(3600)
    }
}

/// Lets a page call the api that served it, under whichever name: CORS is not asked.
pub(crate) async fn same_origin<E: Endpoint>(
    next: Arc<E>,
    mut request: Request,
) -> poem::Result<E::Output> {
    if is_same_origin(&request) {
        request.headers_mut().remove(ORIGIN);
    }
    next.call(request).await
}

/// Returns true if the origin of a request is the host that it is sent to. A proxy in between may
/// have another scheme.
fn is_same_origin(request: &Request) -> bool {
    let origin = request.headers().get(ORIGIN);
    let origin = origin.and_then(|origin| origin.to_str().ok()?.split_once("://"));
    origin
        .zip(host_of(request))
        .is_some_and(|((_, origin), host)| origin == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_exact() {
        assert_eq!(
            "https://a.example, http://localhost:3000"
                .parse::<Origins>()
                .unwrap()
                .0
                .len(),
            2
        );
        for text in [
            "*",
            "https://a.example/",
            "https://a.example/app",
            "a.example",
            "null",
            "https://A.example",
            "",
        ] {
            assert!(text.parse::<Origins>().is_err(), "{text}");
        }
    }
}
