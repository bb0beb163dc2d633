//! The bytes of an output: an HTTP response as it arrives, or a `data:` URL. A download that breaks
//! off is resumed where it broke, if the host allows it; one that stalls, trickles or never ends is
//! given up.
//!
//! URLs are opened here. In reading order:
//!
//! - `http`: requests through the guard, redirects, and refusals
//! - `answer`: successful responses, whole or in part; `coding`: content codings, and decoding them
//! - `data_url`: decoding of `data:` URLs
//! - `reading`: a source that is being read, within its limits; `download`: resumes what broke off
//! - `failures`: failures of sources

mod answer;
mod coding;
mod data_url;
mod download;
mod failures;
mod http;
mod reading;

use std::time::Duration;

use darkroom_workflows::failure::FailureType;
use reqwest::Client;
use url::Url;

pub use self::{
    answer::{Range, Validator},
    http::OpenError,
    reading::Source,
};
use self::{download::Download, failures::rejected, reading::State};
use crate::{
    failure::Failure,
    guard::{Clients, Guard, SetupError, verbatim::Address},
};

/// Limits of a source: its size, its timeouts and its rate.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum size of one output, in bytes.
    pub bytes: u64,
    /// Timeout of the response's head: some hosts create the file only on request.
    pub first_byte: Duration,
    /// Idle timeout of the response's body.
    pub silence: Duration,
    /// Time over which the rate is measured.
    pub window: Duration,
    /// Minimum number of bytes that must arrive within that time.
    pub bytes_per_window: u64,
}

impl Limits {
    /// Limits for outputs of at most this many bytes: 60 s until the head, 15 s of idle timeout, 32
    /// KiB/s on average over 30 s.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        let window = Duration::from_secs(30);
        Self {
            bytes,
            first_byte: Duration::from_mins(1),
            silence: Duration::from_secs(15),
            window,
            bytes_per_window: 30 * 32 * 1024,
        }
    }
}

/// Fetches outputs.
#[derive(Clone, Debug)]
pub struct Sources {
    clients: Clients,
    limits: Limits,
}

impl Sources {
    /// Creates the HTTP clients.
    ///
    /// # Errors
    /// If the HTTP clients cannot be created.
    pub fn new(guard: Guard, limits: Limits) -> Result<Self, SetupError> {
        let builder = || {
            Client::builder()
                .connect_timeout(Duration::from_secs(5))
                // Decoded in `coding`, which knows all names of gzip.
                .gzip(false)
                // Unread data of one download takes memory, up to the window of its stream. The
                // connection window is large, so that it does not stall the other downloads.
                .http2_initial_stream_window_size(Some(512 * 1024))
                .http2_initial_connection_window_size(Some(1024 * 1024 * 1024))
        };
        Ok(Self {
            clients: Clients::new(guard, builder)?,
            limits,
        })
    }

    /// Opens the file of an `http:`, `https:` or `data:` URL, or the rest of it if it is still the
    /// same. If it has changed or its host serves no ranges, the source begins at its start: see
    /// [`Source::position`].
    ///
    /// # Errors
    /// If the URL is invalid, or the source refuses, cannot be reached or is too large. Files that
    /// may appear later are distinguished.
    pub async fn open(&self, url: &str, rest: Option<Range<'_>>) -> Result<Source, OpenError> {
        if is_inline(url) {
            return Ok(self.decode(url)?);
        }
        match Address::parse(url) {
            Some(address) => self.request(&address, rest).await,
            None => Err(rejected("the output's URL cannot be parsed").into()),
        }
    }

    async fn request(
        &self,
        address: &Address,
        rest: Option<Range<'_>>,
    ) -> Result<Source, OpenError> {
        let position = rest.map_or(0, |rest| rest.position);
        let answer = http::request(self, address, rest).await?;
        let position = if answer.is_partial { position } else { 0 };
        let length = answer.length.map(|length| length + position);
        let hints = Hints {
            extension: extension(&address.url),
            content_type: answer.content_type.clone(),
        };
        let state = State::Http(Box::new(Download::new(address, answer, self)));
        Ok(Source::begin(state, hints, length, position, self.limits)?)
    }

    /// Decodes a `data:` URL.
    fn decode(&self, url: &str) -> Result<Source, Failure> {
        let decoded = data_url::decode(url).map_err(|what| {
            let detail = format!("a data: URL cannot be read: {what}");
            Failure::new(FailureType::UnsupportedMedia, detail)
        })?;
        let hints = Hints {
            extension: None,
            content_type: decoded.content_type,
        };
        let length = Some(decoded.bytes.len() as u64);
        let state = State::Inline(Some(decoded.bytes));
        Source::begin(state, hints, length, 0, self.limits)
    }
}

/// Claims of a source about its file, true or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    /// Extension in its URL, in lower case.
    pub(super) extension: Option<String>,
    /// MIME type that its host claims.
    pub(super) content_type: Option<String>,
}

/// Returns true if the file is in the URL itself.
pub(super) fn is_inline(url: &str) -> bool {
    let scheme = url.get(..5);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

fn extension(url: &Url) -> Option<String> {
    let (_, extension) = url.path_segments()?.next_back()?.rsplit_once('.')?;
    Some(extension.to_ascii_lowercase())
}
