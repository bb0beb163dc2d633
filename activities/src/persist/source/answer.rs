//! Successful responses: the whole file, or the rest of it that was asked for, and the validator
//! that shows whether it is still the same file.

use std::time::Duration;

use bytes::Bytes;
use headers::{ContentRange, HeaderMapExt};
use reqwest::{
    Response, StatusCode, Version,
    header::{self, HeaderMap},
};
use serde::{Deserialize, Serialize};

use super::{
    coding::{Body, Coding},
    failures::unavailable,
};
use crate::failure::Failure;

/// Validator that distinguishes versions of a file: a strong `ETag`. `Last-Modified` is too coarse.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Validator(pub(super) String);

/// Range request for the rest of a file, provided that it is still the same file.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    /// Number of bytes before the rest.
    pub position: u64,
    /// Validator of the file, as of when they were read.
    pub validator: &'a Validator,
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
    /// True if a body that was cut looks the same as a whole one: it has no length, and ends with
    /// its connection or its stream. <https://www.rfc-editor.org/rfc/rfc9112#section-6.3>
    pub(super) may_be_truncated: bool,
    /// MIME type that the host claims.
    pub(super) content_type: Option<String>,
}

impl Answer {
    fn new(response: Response) -> Self {
        let headers = response.headers();
        let is_framed = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING);
        // TLS marks the end of a connection. A stream of HTTP/2 that is reset without an error
        // reaches us as an end.
        let marks_end = response.version() < Version::HTTP_2 && response.url().scheme() != "http";
        Self {
            length: text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            validator: None,
            is_partial: false,
            may_be_truncated: !is_framed && !marks_end,
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

/// Accepts a response with the whole file.
///
/// # Errors
/// If its content coding cannot be decoded.
pub(super) fn whole(response: Response) -> Result<Answer, Failure> {
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
pub(super) fn partial(response: Response, range: Option<Range<'_>>) -> Option<Answer> {
    let Range {
        position,
        validator: wanted,
    } = range.filter(|_| response.status() == StatusCode::PARTIAL_CONTENT)?;
    let headers = response.headers();
    let is_same = text(headers, &header::ETAG).is_none_or(|tag| tag == wanted.0);
    let length = rest_length(headers, position)?;
    is_same.then_some(Answer {
        length: Some(length),
        validator: Some(wanted.clone()),
        is_partial: true,
        ..Answer::new(response)
    })
}

/// Returns the value of a header, if it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the length of a partial response if it is the rest of the file from this position, such
/// as `bytes 100-199/200`: <https://www.rfc-editor.org/rfc/rfc9110#section-14.4>
fn rest_length(headers: &HeaderMap, position: u64) -> Option<u64> {
    let range = headers.typed_get::<ContentRange>()?;
    let ((first, last), total) = (range.bytes_range()?, range.bytes_len()?);
    let is_the_rest = first == position && last.checked_add(1)? == total;
    is_the_rest.then(|| total - position)
}

fn validator(headers: &HeaderMap) -> Option<Validator> {
    text(headers, &header::ETAG)
        .filter(|tag| tag.starts_with('"'))
        .map(|tag| Validator(tag.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rest_of_a_file_continues_it() {
        let rest = |value: &str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, value.parse().unwrap())]);
            rest_length(&headers, 100)
        };
        assert_eq!(rest("bytes 100-199/200"), Some(100));
        for value in [
            "",
            "bytes */200",
            "bytes 100-199/*",
            "bytes 199-100/200",
            "bytes 0-200/200",
            "lines 1-2/3",
            // A file that is shorter than what was read of it.
            "bytes 0-0/1",
            "bytes 100-18446744073709551615/200",
        ] {
            assert_eq!(rest(value), None, "{value}");
        }
    }

    #[test]
    fn only_strong_etags_are_validators() {
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
