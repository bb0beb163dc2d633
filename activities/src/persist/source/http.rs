//! Requests for a URL or a range of its file through the guard, hop by hop: redirects, refusals and
//! `Retry-After`. Responses with a file are read in `answer`.

use std::time::{Duration, SystemTime};

use darkroom_types::retry_after::parse_retry_after;
use darkroom_workflows::failure::FailureType;
use reqwest::{
    Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
};

use super::{
    Sources,
    answer::{Answer, Range, partial, text, whole},
    failures::{rejected, unavailable},
};
use crate::{
    failure::Failure,
    guard::{RequestError, verbatim::Address},
};

/// Maximum number of redirects that are followed.
const MAX_REDIRECTS: u32 = 3;

/// Reason for which a URL cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The host answered 404 or 403. Some hosts have the file a little later.
    Absent(Failure),
    /// Anything else.
    Failed(Failure),
}

impl OpenError {
    /// Returns the failure.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Absent(failure) | Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Requests a file, or a range of it.
pub(super) async fn request(
    sources: &Sources,
    address: &Address,
    mut range: Option<Range<'_>>,
) -> Result<Answer, OpenError> {
    let mut address = address.clone();
    let mut redirects = 0;
    loop {
        let response = send(sources, &address, range).await?;
        let status = response.status();
        match status {
            StatusCode::OK => return Ok(whole(response)?),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if range.is_some() => {
                match partial(response, range) {
                    Some(answer) => return Ok(answer),
                    // The whole file may be available although the range is not.
                    None => range = None,
                }
            }
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                redirects += 1;
                if redirects > MAX_REDIRECTS {
                    return Err(rejected(format!(
                        "the output's host redirects more than {MAX_REDIRECTS} times"
                    ))
                    .into());
                }
                address = next_hop(&address, response.headers())?;
            }
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
                return Err(OpenError::Absent(refused(status, response.headers())));
            }
            _ => return Err(refused(status, response.headers()).into()),
        }
    }
}

async fn send(
    sources: &Sources,
    address: &Address,
    range: Option<Range<'_>>,
) -> Result<Response, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    if let Some(Range {
        position,
        validator,
    }) = range
    {
        let unsendable = |_| rejected("the ETag of the output's host cannot be sent in If-Range");
        let range = HeaderValue::from_str(&format!("bytes={position}-")).map_err(unsendable)?;
        let version = HeaderValue::from_str(&validator.0).map_err(unsendable)?;
        headers.extend([(header::RANGE, range), (header::IF_RANGE, version)]);
    }
    let request = sources.clients.get(address, headers);
    match tokio::time::timeout(sources.limits.first_byte, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(unavailable("the output's host does not answer")),
    }
}

/// Returns the URL that a redirect points to, which some hosts write in raw UTF-8.
fn next_hop(from: &Address, headers: &HeaderMap) -> Result<Address, Failure> {
    let location = headers
        .get(header::LOCATION)
        .ok_or_else(|| rejected("the output's host redirects without a Location"))?;
    let location = String::from_utf8_lossy(location.as_bytes());
    from.join(&location)
        .ok_or_else(|| rejected("the output's host redirects to an invalid URL"))
}

fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    let detail = format!("the output's host answered {status}");
    let kind = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => FailureType::SourceExpired,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
            FailureType::SourceUnavailable
        }
        status if status.is_server_error() => FailureType::SourceUnavailable,
        _ => FailureType::SourceRejected,
    };
    match retry_after(headers).filter(|_| kind == FailureType::SourceUnavailable) {
        Some(delay) => Failure::retry_after(kind, detail, delay),
        None => Failure::new(kind, detail),
    }
}

/// Delay that the host asks for, within bounds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_mins(10);
    let value = text(headers, &header::RETRY_AFTER)?;
    let delay = parse_retry_after(value, SystemTime::now())?;
    Some(delay.clamp(SHORTEST, LONGEST))
}

/// Converts errors of the guard and of the HTTP clients.
impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Forbidden(error) => Self::new(
                FailureType::SourceForbidden,
                format!("the output's URL is not fetched: {error}"),
            ),
            RequestError::Unsendable(detail) => rejected(detail),
            RequestError::Unanswered(detail) => unavailable(detail),
        }
    }
}
