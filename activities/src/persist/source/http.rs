//! Requests for a URL through the guard, hop by hop, and the meaning of the responses: redirects,
//! ranges, refusals and `Retry-After`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use darkroom_types::retry_after::parse_retry_after;
use darkroom_workflows::failure::{FailureType, chain};
use reqwest::{
    Response, StatusCode, Version,
    header::{self, HeaderMap, HeaderValue},
};
use serde::{Deserialize, Serialize};

use super::{
    Sources,
    coding::{Body, Coding},
};
use crate::{
    failure::Failure,
    guard::{RequestError, verbatim::Address},
};

/// Maximum number of redirects that are followed.
const MAX_REDIRECTS: u32 = 3;

/// Validator that distinguishes versions of a file: a strong `ETag`. `Last-Modified` is too coarse.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Validator(String);

/// Range request for the rest of a file, provided that it is still the same file.
#[derive(Clone, Copy)]
pub(super) struct Range<'a> {
    pub(super) position: u64,
    pub(super) validator: &'a Validator,
}

/// A successful response with a body to read.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    /// Number of bytes to come, if it is announced.
    pub(super) length: Option<u64>,
    /// Validator with which the rest can be requested if the body breaks off.
    pub(super) validator: Option<Validator>,
    /// True if it is the requested range, false if it is the whole file.
    pub(super) is_partial: bool,
    /// True if only the end of the connection marks the end of the body: a body that was cut looks
    /// the same. <https://www.rfc-editor.org/rfc/rfc9112#section-6.3>
    pub(super) ends_with_connection: bool,
    /// MIME type that the host claims.
    pub(super) content_type: Option<String>,
}

impl Answer {
    fn new(response: Response) -> Self {
        let headers = response.headers();
        let is_framed = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING)
            || response.version() >= Version::HTTP_2;
        Self {
            length: text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            validator: None,
            is_partial: false,
            ends_with_connection: !is_framed && response.url().scheme() == "http",
            content_type: text(headers, &header::CONTENT_TYPE).map(str::to_owned),
            body: Body::Plain(response),
        }
    }

    /// Returns the next bytes; `None` at the end.
    pub(super) async fn chunk(&mut self, silence: Duration) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(silence, self.body.chunk()).await {
            Ok(chunk) => chunk,
            Err(_) => Err(unavailable(format!(
                "the output's host was silent for {} s",
                silence.as_secs()
            ))),
        }
    }
}

/// Reason for which a URL cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The host answered 404 or 403. Some hosts have the file a little later.
    Absent(Failure),
    /// Anything else.
    Failed(Failure),
}

impl OpenError {
    pub(crate) fn into_failure(self) -> Failure {
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

/// Requests a URL, or a range of its file.
pub(super) async fn request(
    sources: &Sources,
    url: &str,
    mut range: Option<Range<'_>>,
) -> Result<Answer, OpenError> {
    let mut address =
        Address::parse(url).ok_or_else(|| rejected("the output's URL cannot be parsed"))?;
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

fn whole(response: Response) -> Result<Answer, Failure> {
    let coding = Coding::of(response.headers())?;
    let in_part = text(response.headers(), &header::ACCEPT_RANGES)
        .is_some_and(|unit| unit.eq_ignore_ascii_case("bytes"));
    let validator = validator(response.headers());
    let answer = Answer::new(response);
    Ok(match coding {
        Coding::Identity => Answer {
            validator: validator.filter(|_| answer.length.is_some() && in_part),
            ..answer
        },
        // The length is that of the encoded bytes, and decoded bytes cannot be requested by range.
        Coding::Gzip => Answer {
            body: answer.body.gunzip(),
            length: None,
            ..answer
        },
    })
}

/// Accepts a partial response only if it is the requested range of the same file.
fn partial(response: Response, range: Option<Range<'_>>) -> Option<Answer> {
    let Range {
        position,
        validator: wanted,
    } = range.filter(|_| response.status() == StatusCode::PARTIAL_CONTENT)?;
    let headers = response.headers();
    let is_same = text(headers, &header::ETAG).is_none_or(|tag| tag == wanted.0);
    let (first, last, total) =
        text(headers, &header::CONTENT_RANGE).and_then(parse_content_range)?;
    let is_the_rest = first == position && last + 1 == total;
    let (length, validator) = (Some(total - position), Some(wanted.clone()));
    (is_same && is_the_rest).then_some(Answer {
        length,
        validator,
        is_partial: true,
        ..Answer::new(response)
    })
}

/// Parses `bytes 100-199/200`, <https://www.rfc-editor.org/rfc/rfc9110#section-14.4>
fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first <= last && last < total).then_some((first, last, total))
}

fn validator(headers: &HeaderMap) -> Option<Validator> {
    text(headers, &header::ETAG)
        .filter(|tag| tag.starts_with('"'))
        .map(|tag| Validator(tag.to_owned()))
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
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
            RequestError::Forbidden(verdict) => Self::new(
                FailureType::SourceForbidden,
                format!("the output's URL is not fetched: {verdict}"),
            ),
            RequestError::Unsendable(detail) => rejected(detail),
            RequestError::Unanswered(detail) => unavailable(detail),
        }
    }
}

/// Converts the error of a body that broke off.
pub(super) fn broken(error: reqwest::Error) -> Failure {
    unavailable(chain(&error.without_url()))
}

fn rejected(detail: impl Into<String>) -> Failure {
    Failure::new(FailureType::SourceRejected, detail)
}

pub(super) fn unavailable(detail: impl Into<String>) -> Failure {
    Failure::new(FailureType::SourceUnavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_parse() {
        assert_eq!(
            parse_content_range("bytes 100-199/200"),
            Some((100, 199, 200))
        );
        for text in [
            "",
            "bytes */200",
            "bytes 100-199/*",
            "bytes 199-100/200",
            "bytes 0-200/200",
            "lines 1-2/3",
        ] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }

    #[test]
    fn only_strong_tags_tell_versions_apart() {
        let headers = |name: header::HeaderName, value: &str| {
            HeaderMap::from_iter([(name, value.parse().unwrap())])
        };
        assert!(validator(&headers(header::ETAG, "\"abc\"")).is_some());
        assert!(validator(&headers(header::ETAG, "W/\"abc\"")).is_none());
        assert!(
            validator(&headers(
                header::LAST_MODIFIED,
                "Wed, 21 Oct 2015 07:28:00 GMT"
            ))
            .is_none()
        );
    }
}
