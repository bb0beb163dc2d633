//! Configuration of an answer of the host of outputs.

use serde::Deserialize;

/// First bytes of every PNG file.
pub(super) const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Configuration of one answer, parsed from the query of the URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AnswerConfig {
    /// Length of the file, in bytes.
    pub(super) bytes: u64,
    /// First bytes of the file in hexadecimal; a PNG signature by default.
    pub(super) head: String,
    /// Number of requests to which the faults apply; later ones are answered without them.
    pub(super) times: u32,
    /// Number of requests after which the file is gone (404).
    pub(super) serves: Option<u32>,
    /// Status to answer with, without a file.
    pub(super) status: Option<u16>,
    /// HTML page to answer with instead of the file.
    pub(super) page: Option<String>,
    /// `Retry-After` in seconds.
    pub(super) retry_after: Option<u32>,
    /// `Retry-After` as a date, this number of seconds from now.
    pub(super) retry_date: Option<u32>,
    /// Delay before the answer begins, in seconds.
    pub(super) wait: Option<u32>,
    /// Text that the request target must contain as written, without percent-encoding; otherwise
    /// the answer is 403.
    pub(super) verbatim: Option<String>,
    /// `Location` header.
    pub(super) location: Option<String>,
    /// Framing without a `Content-Length`: `chunked`, or `close` for the end of the connection.
    pub(super) framing: Option<Framing>,
    /// Number of bytes after which the connection closes.
    pub(super) cut: Option<u64>,
    /// Number of bytes after which nothing more is sent and the connection stays open.
    pub(super) stall: Option<u64>,
    /// Number of bytes after which the rest waits for [`release`](super::SourceServer::release).
    pub(super) hold: Option<u64>,
    /// Bytes per second.
    pub(super) rate: Option<u32>,
    /// Number of bytes that `Content-Length` announces beyond those that are sent.
    pub(super) overstate: u64,
    /// True to serve range requests.
    pub(super) ranges: bool,
    /// True to serve another file, with another `ETag`, for each request.
    pub(super) changes: bool,
    /// True to answer a range request with a `Content-Range` that is off by one.
    pub(super) wrong_range: bool,
    /// `Content-Type` header.
    pub(super) content_type: Option<String>,
    /// `Content-Encoding` header. The body is sent as it is; `head` may hold an encoded one.
    pub(super) encoding: Option<String>,
}

impl Default for AnswerConfig {
    fn default() -> Self {
        Self {
            bytes: 1024,
            head: hex::encode(PNG_SIGNATURE),
            times: u32::MAX,
            serves: None,
            status: None,
            page: None,
            retry_after: None,
            retry_date: None,
            wait: None,
            verbatim: None,
            location: None,
            framing: None,
            cut: None,
            stall: None,
            hold: None,
            rate: None,
            overstate: 0,
            ranges: false,
            changes: false,
            wrong_range: false,
            content_type: None,
            encoding: None,
        }
    }
}

impl AnswerConfig {
    /// True if the faults apply to this request for the file, counted from 1.
    pub(super) fn is_faulty(&self, count: u32) -> bool {
        count <= self.times
    }
}

/// Framing of a body whose length is not announced.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Framing {
    /// The last chunk ends the body.
    Chunked,
    /// The end of the connection ends the body.
    Close,
}
