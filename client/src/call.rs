//! One call: sent, sent again where that helps and does nothing twice, and read.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use darkroom_types::problem::Problem;
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{LOCATION, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Client, Error};

/// How long an answer that is read whole may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The longest wait that an api may ask for.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How much of an answer that is none of an api is shown.
const EXCERPT: usize = 200;

/// Whether a call does the same however often it arrives.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Repeat {
    /// It does: it is sent again if its answer was lost.
    Harmless,
    /// It may do more: it is sent again only if it cannot have been acted upon.
    Harmful,
}

impl Client {
    /// The answer to a call.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        repeat: Repeat,
    ) -> Result<T, Error> {
        let Body { status, url, bytes } = self.send(request, repeat).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Unexpected {
            url,
            status,
            what: error.to_string(),
        })
    }

    /// The same where nothing is answered.
    pub(crate) async fn command(
        &self,
        request: RequestBuilder,
        repeat: Repeat,
    ) -> Result<(), Error> {
        self.send(request, repeat).await.map(drop)
    }

    async fn send(&self, request: RequestBuilder, repeat: Repeat) -> Result<Body, Error> {
        let request = request.timeout(TIMEOUT);
        repeated(repeat, self.patience(), || async {
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

    /// An answer that goes on.
    pub(crate) async fn open(&self, request: RequestBuilder) -> Result<Response, Error> {
        repeated(Repeat::Harmless, self.patience(), || attempt(&request)).await
    }
}

/// An answer that was read whole.
struct Body {
    status: StatusCode,
    url: Url,
    bytes: Vec<u8>,
}

async fn repeated<T, F: Future<Output = Result<T, Error>>>(
    repeat: Repeat,
    patience: Duration,
    attempt: impl Fn() -> F,
) -> Result<T, Error> {
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_total_delay(Some(patience))
        .with_jitter();
    attempt
        .retry(backoff)
        .when(|error| may_be_repeated(error, repeat))
        .adjust(|error, pause| match error {
            Error::Refused { retry_after, .. } => Some(pause?.max(retry_after.unwrap_or_default())),
            _ => pause,
        })
        .await
}

fn may_be_repeated(error: &Error, repeat: Repeat) -> bool {
    let is_harmless = repeat == Repeat::Harmless;
    match error {
        Error::Unreachable { source, .. } => is_harmless || source.is_connect(),
        // Where there is a time, the api has done nothing; how long is too long is the caller's to say.
        Error::Refused {
            problem,
            retry_after: Some(pause),
        } => *pause <= LONGEST_PAUSE && (is_harmless || problem.status == 429),
        // What stands between us and the api speaks.
        Error::Unexpected { status, .. } => {
            is_harmless && matches!(status.as_u16(), 408 | 429 | 502..=504)
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
    let unsendable = || Error::Configuration("a request cannot be sent twice".to_owned());
    let (http, request) = request.try_clone().ok_or_else(unsendable)?.build_split();
    let request = request.map_err(|error| Error::Configuration(error.to_string()))?;
    let url = request.url().clone();
    match http.execute(request).await {
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) => Err(refusal(url, response).await),
        Err(source) => Err(Error::Unreachable { url, source }),
    }
}

/// Why an answer is none.
async fn refusal(url: Url, response: Response) -> Error {
    let status = response.status();
    let seconds = response.headers().get(RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    let location = response.headers().get(LOCATION).cloned();
    let body = match response.text().await {
        Ok(body) => body,
        Err(source) => return Error::Unreachable { url, source },
    };
    if let Ok(problem) = serde_json::from_str::<Problem>(&body) {
        return Error::Refused {
            problem: Box::new(problem),
            retry_after: seconds.map(Duration::from_secs),
        };
    }
    let what = match location {
        Some(location) => format!("it leads to {}", location.to_str().unwrap_or("elsewhere")),
        None if body.trim().is_empty() => "there is no body".to_owned(),
        None => body.trim().chars().take(EXCERPT).collect(),
    };
    Error::Unexpected { url, status, what }
}
