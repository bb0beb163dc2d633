//! Default headers of every response, for browsers and proxies; `Allow` of a `405`.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use url::Url;

use crate::router::Methods;

/// Default headers of responses. Responses are data: they must not be executed, framed, sniffed or
/// cached by a proxy.
pub(super) struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    pub(super) fn of(public_url: &Url) -> Self {
        let mut headers = vec![
            (header::CACHE_CONTROL, "private, no-cache"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; frame-ancestors 'none'",
            ),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        if public_url.scheme() == "https" {
            headers.push((header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
        }
        Self(
            headers
                .into_iter()
                .map(|(name, value)| (name, HeaderValue::from_static(value)))
                .collect(),
        )
    }
}

/// Adds the default headers that a response does not set itself.
pub(super) async fn add<E: Endpoint>(
    headers: Arc<Headers>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let mut response = next.call(request).await?.into_response();
    for (name, value) in &headers.0 {
        let entry = response.headers_mut().entry(name);
        entry.or_insert_with(|| value.clone());
    }
    Ok(response)
}

/// Adds the methods that a path allows to a `405`:
/// <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6>
pub(super) async fn allow<E: Endpoint>(
    methods: Arc<Methods>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let path = request.uri().path().to_owned();
    let mut response = next.call(request).await?.into_response();
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some(allowed) = methods
            .allowed(&path)
            .and_then(|allowed| allowed.parse().ok())
    {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    Ok(response)
}
