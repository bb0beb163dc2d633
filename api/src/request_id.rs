//! `X-Request-Id`: taken from the caller or made here, and found again in the answer, in problems, in the log and in the memo
//! of a workflow that the request started.

use darkroom_telemetry::traces;
use poem::{Endpoint, IntoResponse, Request, Response};
use tracing::{Instrument, field::Empty};
use uuid::Uuid;

use crate::problem::Problem;

const HEADER: &str = "x-request-id";

/// The id of a request: 1 to 128 of letters, digits and `-._`.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

impl RequestId {
    const MAX: usize = 128;

    /// What the caller calls the request, if that is fit to be repeated; otherwise an id that nothing else has.
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
}

/// Answers through the endpoint, with the request's id throughout, within a span of that request.
pub(crate) async fn identified<E: Endpoint>(
    endpoint: &E,
    route: &str,
    mut request: Request,
) -> Response {
    let id = RequestId::of(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        request_id = id.as_str(),
        %method,
        path,
        http.route = route,
        http.response.status_code = Empty,
    );
    traces::continue_request(&span, request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = with_problems(endpoint, request)
        .instrument(span.clone())
        .await;
    span.record("http.response.status_code", response.status().as_u16());
    if let Ok(value) = id.as_str().parse() {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// Answers through the endpoint, and makes every error a problem.
pub(crate) async fn with_problems<E: Endpoint>(endpoint: &E, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.as_str().to_owned());
    match endpoint.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) => {
            let problem = Problem::from(error).at(path);
            match id {
                Some(id) => problem.of_request(&id),
                None => problem,
            }
            .into_response()
        }
    }
}
