//! One call: sending, retries with backoff, and parsing of the response.

use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use darkroom_types::{problem::Problem, retry_after::parse_retry_after};
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{LOCATION, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Client, Error};

/// Timeout of one attempt, including the response body.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Longest `Retry-After` that the client waits for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Limit of the excerpt from a body that is not a problem document, in characters.
const EXCERPT: usize = 200;

/// Idempotency of a call: decides if it is retried when the first request may have arrived.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2>
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Idempotency {
    /// Retried whenever its response is lost.
    Idempotent,
    /// Retried only if the api cannot have acted on it.
    NotIdempotent,
}

impl Client {
    /// Sends a request and parses its response.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        idempotency: Idempotency,
    ) -> Result<T, Error> {
        let Body { status, url, bytes } = self.send(request, idempotency).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Unexpected {
            url,
            status,
            what: error.to_string(),
        })
    }

    /// Sends a request whose response has no body.
    pub(crate) async fn command(
        &self,
        request: RequestBuilder,
        idempotency: Idempotency,
    ) -> Result<(), Error> {
        self.send(request, idempotency).await.map(drop)
    }

    async fn send(&self, request: RequestBuilder, idempotency: Idempotency) -> Result<Body, Error> {
        let request = request.timeout(TIMEOUT);
        retried(idempotency, self.retry_budget(), || async {
            let response = attempt(&request).await?;
            let (status, url) = (response.status(), response.url().clone());
            match response.bytes().await {
                Ok(bytes) => Ok(Body {
                    status,
                    url,
                    bytes: bytes.into(),
                }),
                Err(source) => Err(Error::Unreachable { url, source }),
            }
        })
        .await
    }

    /// Opens a stream.
    pub(crate) async fn open(&self, request: RequestBuilder) -> Result<Response, Error> {
        retried(Idempotency::Idempotent, self.retry_budget(), || {
            attempt(&request)
        })
        .await
    }
}

/// Response body, read completely.
struct Body {
    status: StatusCode,
    url: Url,
    bytes: Vec<u8>,
}

async fn retried<T, F: Future<Output = Result<T, Error>>>(
    idempotency: Idempotency,
    budget: Duration,
    attempt: impl Fn() -> F,
) -> Result<T, Error> {
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter();
    let mut left = budget;
    attempt
        .retry(backoff)
        .when(|error| is_retryable(error, idempotency))
        .adjust(|error, pause| {
            let pause = match error {
                Error::Refused { retry_after, .. } => pause?.max(retry_after.unwrap_or_default()),
                _ => pause?,
            };
            // The budget of the backoff itself would not count what `Retry-After` adds.
            left = left.checked_sub(pause)?;
            Some(pause)
        })
        .await
}

fn is_retryable(error: &Error, idempotency: Idempotency) -> bool {
    let is_idempotent = idempotency == Idempotency::Idempotent;
    match error {
        Error::Unreachable { source, .. } => is_idempotent || source.is_connect(),
        // A response with `Retry-After` means that the api has not acted on the request.
        Error::Refused {
            problem,
            retry_after: Some(pause),
        } => *pause <= MAX_RETRY_AFTER && (is_idempotent || problem.status == 429),
        // Gateways in between respond without a problem document.
        Error::Unexpected { status, .. } => {
            is_idempotent && matches!(status.as_u16(), 408 | 429 | 502..=504)
        }
        Error::Refused {
            retry_after: None, ..
        }
        | Error::Configuration(_)
        | Error::NotDownloaded { .. }
        | Error::Corrupt { .. }
        | Error::File { .. } => false,
    }
}

async fn attempt(request: &RequestBuilder) -> Result<Response, Error> {
    let unsendable = || Error::Configuration("the body of a request cannot be resent".to_owned());
    let (http, request) = request.try_clone().ok_or_else(unsendable)?.build_split();
    let request = request.map_err(|error| Error::Configuration(error.to_string()))?;
    let url = request.url().clone();
    match http.execute(request).await {
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) => Err(refusal(url, response).await),
        Err(source) => Err(Error::Unreachable { url, source }),
    }
}

/// Converts an unsuccessful response into an error.
async fn refusal(url: Url, response: Response) -> Error {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after =
        retry_after.and_then(|value| parse_retry_after(value.to_str().ok()?, SystemTime::now()));
    let location = response.headers().get(LOCATION).cloned();
    let body = match response.text().await {
        Ok(body) => body,
        Err(source) => return Error::Unreachable { url, source },
    };
    if let Ok(problem) = serde_json::from_str::<Problem>(&body) {
        return Error::Refused {
            problem: Box::new(problem),
            retry_after,
        };
    }
    let what = match location {
        Some(location) => format!("redirect to {}", location.to_str().unwrap_or("elsewhere")),
        None if body.trim().is_empty() => "the body is empty".to_owned(),
        None => body.trim().chars().take(EXCERPT).collect(),
    };
    Error::Unexpected { url, status, what }
}
