//! `X-Request-Id`: taken from the caller or made here, and found again in the answer, in problems, in the log and in the memo
//! of a workflow that the request started.

use poem::{Endpoint, IntoResponse, Request, Response, Result};
use tracing::Instrument;
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
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
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

/// Answers through the endpoint, with the request's id throughout. Every error becomes a problem here.
pub(crate) async fn identified<E: Endpoint>(endpoint: std::sync::Arc<E>, mut request: Request) -> Result<Response> {
    let id = RequestId::of(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", request_id = id.as_str(), %method, path);
    request.extensions_mut().insert(id.clone());
    let mut response = async {
        match endpoint.call(request).await {
            Ok(response) => response.into_response(),
            Err(error) => Problem::from(error).at(path).of_request(id.as_str()).into_response(),
        }
    }
    .instrument(span)
    .await;
    if let Ok(value) = id.as_str().parse() {
        response.headers_mut().insert(HEADER, value);
    }
    Ok(response)
}
