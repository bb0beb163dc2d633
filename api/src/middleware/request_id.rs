//! `X-Request-Id`: taken from the caller or generated. The response, problems and the log contain
//! it, and the memo of a workflow that the request starts.

use std::sync::Arc;

use darkroom_telemetry::traces;
use poem::{Endpoint, IntoResponse, Request, Response};
use tracing::{Instrument, field::Empty};
use uuid::Uuid;

use crate::router::Methods;

const HEADER: &str = "x-request-id";

/// Request id: 1 to 128 letters, digits and `-._`.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

impl RequestId {
    const MAX: usize = 128;

    /// Returns the id that the caller sent if it is valid, or a generated one that is unique.
    fn of(request: &Request) -> Self {
        let is_fit = |id: &&str| {
            (1..=Self::MAX).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        match request.header(HEADER).filter(is_fit) {
            Some(id) => Self(id.to_owned()),
            None => Self(Uuid::now_v7().to_string()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// Assigns an id to the request, opens a span for it, and adds the id to the response.
pub(super) async fn identify<E: Endpoint>(
    methods: Arc<Methods>,
    next: Arc<E>,
    mut request: Request,
) -> poem::Result<Response> {
    let id = RequestId::of(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = methods.route(&path);
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        request_id = id.as_str(),
        key_id = Empty,
        %method,
        path,
        http.route = route,
        http.response.status_code = Empty,
    );
    traces::continue_request(&span, request.headers());
    request.extensions_mut().insert(id.clone());
    let response = next.call(request).instrument(span.clone()).await?;
    let mut response = response.into_response();
    span.record("http.response.status_code", response.status().as_u16());
    if let Ok(value) = id.as_str().parse() {
        response.headers_mut().insert(HEADER, value);
    }
    Ok(response)
}
