//! Where an output's bytes come from: an HTTP response as it arrives, or a `data:` URL.

use std::time::Duration;

use bytes::Bytes;
use darkroom_workflows::failure::FailureType;
use data_url::DataUrl;
use reqwest::{Client, Response, StatusCode, header, redirect};

use crate::failure::{Failure, chain};

/// How long a source may stay silent.
const STALL: Duration = Duration::from_secs(15);

/// Fetches outputs.
#[derive(Clone, Debug)]
pub struct Sources {
    http: Client,
}

impl Sources {
    /// Sets up the client: no proxy, no referrer, three redirects at most.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(STALL)
            .redirect(redirect::Policy::limited(3))
            .referer(false)
            .no_proxy()
            .user_agent(concat!("darkroom/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http })
    }

    /// Opens an `http:`, `https:` or `data:` URL.
    ///
    /// # Errors
    /// If the source refuses or cannot be reached.
    pub async fn open(&self, url: &str) -> Result<Source, Failure> {
        if url.starts_with("data:") {
            return decode(url);
        }
        let response = self.http.get(url).send().await.map_err(unavailable)?;
        let status = response.status();
        if status.is_success() { Ok(Source::Response(response)) } else { Err(refused(status, &response)) }
    }
}

/// Bytes on their way in.
#[derive(Debug)]
pub enum Source {
    /// Over HTTP.
    Response(Response),
    /// All at hand.
    Inline(Option<Bytes>),
}

impl Source {
    /// The next bytes; `None` at the end. A body that breaks off before its announced end is an error.
    ///
    /// # Errors
    /// If the source breaks off or stalls.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Response(response) => response.chunk().await.map_err(unavailable),
            Self::Inline(bytes) => Ok(bytes.take()),
        }
    }
}

fn decode(url: &str) -> Result<Source, Failure> {
    let unsupported =
        |error| Failure::new(FailureType::UnsupportedMedia, format!("a data: URL does not decode: {error}"));
    let parsed = DataUrl::process(url).map_err(|error| unsupported(format!("{error:?}")))?;
    let (bytes, _fragment) = parsed.decode_to_vec().map_err(|error| unsupported(format!("{error:?}")))?;
    Ok(Source::Inline(Some(bytes.into())))
}

fn refused(status: StatusCode, response: &Response) -> Failure {
    let detail = format!("the output's host answered {status}");
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Failure::new(FailureType::SourceExpired, detail),
        StatusCode::TOO_MANY_REQUESTS => match retry_after(response) {
            Some(delay) => Failure::retry_after(FailureType::SourceUnavailable, detail, delay),
            None => Failure::new(FailureType::SourceUnavailable, detail),
        },
        StatusCode::REQUEST_TIMEOUT => Failure::new(FailureType::SourceUnavailable, detail),
        status if status.is_server_error() => Failure::new(FailureType::SourceUnavailable, detail),
        _ => Failure::new(FailureType::SourceRejected, detail),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    const LONGEST: u64 = 600;
    let seconds: u64 = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(1, LONGEST)))
}

/// The URL stays out of the message: it may carry a signature.
fn unavailable(error: reqwest::Error) -> Failure {
    let kind = if error.is_builder() || error.is_redirect() {
        FailureType::SourceRejected
    } else {
        FailureType::SourceUnavailable
    };
    Failure::new(kind, chain(&error.without_url()))
}
