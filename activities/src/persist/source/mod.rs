//! The bytes of an output: an HTTP response as it arrives, or a `data:` URL. A download that breaks
//! off is resumed where it broke, if the host allows it; one that stalls, trickles or never ends is
//! given up.
//!
//! - `http`: requests through the guard, redirects, ranges, and the meaning of responses
//! - `coding`: content codings, and decoding them
//! - `data_url`: decoding of `data:` URLs

mod coding;
mod data_url;
mod http;

use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_storage::digest::Digest;
use darkroom_workflows::failure::FailureType;
use reqwest::Client;
use url::Url;

pub(super) use self::http::OpenError;
pub use self::http::Validator;
use self::http::{Answer, Range};
use crate::{
    failure::Failure,
    guard::{Clients, Guard, SetupError},
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

/// A download under way.
#[derive(Debug)]
struct Download {
    url: String,
    answer: Answer,
    sources: Sources,
    resumptions: u32,
}

/// Maximum size of a chunk, in bytes: each is hashed without yielding to other tasks.
const MAX_CHUNK: usize = 1024 * 1024;

/// Maximum number of times in a row that a download is resumed without having yielded anything.
const MAX_RESUMPTIONS: u32 = 3;

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

    /// Opens an `http:`, `https:` or `data:` URL.
    ///
    /// # Errors
    /// If the source refuses, cannot be reached or is too large.
    pub async fn open(&self, url: &str) -> Result<Source, Failure> {
        self.try_open(url).await.map_err(OpenError::into_failure)
    }

    /// Opens a URL as [`Sources::open`] does, and distinguishes files that may appear later.
    ///
    /// # Errors
    /// As [`Sources::open`].
    pub(super) async fn try_open(&self, url: &str) -> Result<Source, OpenError> {
        if is_inline(url) {
            return Ok(self.decode(url)?);
        }
        let answer = http::request(self, url, None).await?;
        Ok(self.source(url, answer, 0)?)
    }

    /// Opens a URL from a position on, if the file there is still the same. If it has changed or
    /// its host serves no ranges, the source begins at its start: see [`Source::position`].
    ///
    /// # Errors
    /// As [`Sources::open`].
    pub(super) async fn try_open_at(
        &self,
        url: &str,
        position: u64,
        validator: &Validator,
    ) -> Result<Source, OpenError> {
        let answer = http::request(
            self,
            url,
            Some(Range {
                position,
                validator,
            }),
        )
        .await?;
        let position = if answer.is_partial { position } else { 0 };
        Ok(self.source(url, answer, position)?)
    }

    fn source(&self, url: &str, answer: Answer, position: u64) -> Result<Source, Failure> {
        let length = answer.length.map(|length| length + position);
        if length.is_some_and(|length| length > self.limits.bytes) {
            return Err(too_large(self.limits.bytes));
        }
        let hints = Hints {
            extension: extension(url),
            content_type: answer.content_type.clone(),
        };
        let state = State::Http(Box::new(Download {
            url: url.to_owned(),
            answer,
            sources: self.clone(),
            resumptions: 0,
        }));
        Ok(Source {
            state,
            hints,
            pending: Bytes::new(),
            length,
            received: position,
            position,
            rate: Rate::default(),
            limits: self.limits,
        })
    }

    fn decode(&self, url: &str) -> Result<Source, Failure> {
        let decoded = data_url::decode(url).map_err(|what| {
            let detail = format!("a data: URL cannot be read: {what}");
            Failure::new(FailureType::UnsupportedMedia, detail)
        })?;
        let hints = Hints {
            extension: None,
            content_type: decoded.content_type,
        };
        let bytes = decoded.bytes;
        let length = bytes.len() as u64;
        if length > self.limits.bytes {
            return Err(too_large(self.limits.bytes));
        }
        let state = State::Inline(Some(bytes));
        Ok(Source {
            state,
            hints,
            pending: Bytes::new(),
            length: Some(length),
            received: 0,
            position: 0,
            rate: Rate::default(),
            limits: self.limits,
        })
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

/// True if the URL contains the file itself.
pub(super) fn is_inline(url: &str) -> bool {
    url.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

fn extension(url: &str) -> Option<String> {
    let url: Url = url.parse().ok()?;
    let (_, extension) = url.path_segments()?.next_back()?.rsplit_once('.')?;
    Some(extension.to_ascii_lowercase())
}

/// A source that is being read.
#[derive(Debug)]
pub struct Source {
    state: State,
    hints: Hints,
    /// Bytes that have arrived and were not taken yet.
    pending: Bytes,
    length: Option<u64>,
    /// Number of bytes that have arrived, and number of those that were taken.
    received: u64,
    position: u64,
    rate: Rate,
    limits: Limits,
}

#[derive(Debug)]
enum State {
    Http(Box<Download>),
    Inline(Option<Bytes>),
}

impl Source {
    /// Length of the whole file, if it is announced.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Number of bytes that were taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Claims about the file.
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Verifies that the bytes that arrived, of which this is the digest, are the whole file. If
    /// only the end of the connection marks the end of the body, the file is downloaded once more
    /// and compared: a connection that breaks is not likely to break at the same byte.
    ///
    /// # Errors
    /// If the second download differs or fails.
    pub(super) async fn check_end(&self, digest: &Digest) -> Result<(), Failure> {
        let State::Http(download) = &self.state else {
            return Ok(());
        };
        if !download.answer.ends_with_connection {
            return Ok(());
        }
        let mut again = download.sources.open(&download.url).await?;
        let mut whole = Digest::new();
        while let Some(chunk) = again.chunk(MAX_CHUNK).await? {
            whole.update(&chunk);
        }
        if (whole.size(), whole.sha256()) == (digest.size(), digest.sha256()) {
            return Ok(());
        }
        Err(Failure::new(
            FailureType::SourceUnavailable,
            "the output's host announces no length, and sent two different files",
        ))
    }

    /// True if the bytes came in the URL itself.
    pub(super) fn is_inline(&self) -> bool {
        matches!(self.state, State::Inline(_))
    }

    /// Validator with which a later request can ask for the rest of the same bytes.
    #[must_use]
    pub fn validator(&self) -> Option<&Validator> {
        match &self.state {
            State::Http(download) => download.answer.validator.as_ref(),
            State::Inline(_) => None,
        }
    }

    /// Returns the next bytes, at most `most` and never none; `None` at the end. A body that breaks
    /// off before its announced end is an error.
    ///
    /// # Errors
    /// If the source breaks off and cannot be resumed, stalls, trickles or exceeds the size limit.
    pub async fn chunk(&mut self, most: usize) -> Result<Option<Bytes>, Failure> {
        if self.pending.is_empty() {
            match self.arrived().await? {
                Some(chunk) => self.pending = chunk,
                None => return Ok(None),
            }
        }
        let chunk = self
            .pending
            .split_to(self.pending.len().min(most).min(MAX_CHUNK));
        self.position += chunk.len() as u64;
        Ok(Some(chunk))
    }

    /// Returns the next `least` bytes without taking them, fewer only at the end.
    ///
    /// # Errors
    /// As [`Source::chunk`].
    pub async fn peek(&mut self, least: usize) -> Result<Bytes, Failure> {
        while self.pending.len() < least {
            let Some(chunk) = self.arrived().await? else {
                break;
            };
            self.pending = if self.pending.is_empty() {
                chunk
            } else {
                [&self.pending[..], &chunk].concat().into()
            };
        }
        Ok(self.pending.slice(..self.pending.len().min(least)))
    }

    async fn arrived(&mut self) -> Result<Option<Bytes>, Failure> {
        let asked = Instant::now();
        let chunk = match &mut self.state {
            State::Inline(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()),
            State::Http(download) => {
                download
                    .receive(self.received, self.length, self.limits.silence)
                    .await?
            }
        };
        let Some(chunk) = chunk else { return Ok(None) };
        self.received += chunk.len() as u64;
        if self.received > self.limits.bytes {
            return Err(too_large(self.limits.bytes));
        }
        self.rate
            .measure(asked.elapsed(), chunk.len() as u64, &self.limits)?;
        Ok(Some(chunk))
    }
}

impl Download {
    /// Returns the next bytes. If the body breaks off, or ends before its announced end, the
    /// download is resumed from there, if the host allows it.
    async fn receive(
        &mut self,
        received: u64,
        length: Option<u64>,
        silence: Duration,
    ) -> Result<Option<Bytes>, Failure> {
        if length == Some(received) {
            return Ok(None);
        }
        loop {
            let broken = match self.answer.chunk(silence).await {
                Ok(Some(chunk)) if chunk.is_empty() => continue,
                Ok(Some(chunk)) => {
                    self.resumptions = 0;
                    return Ok(Some(chunk));
                }
                Ok(None) if length.is_none() => return Ok(None),
                Ok(None) => Failure::new(
                    FailureType::SourceUnavailable,
                    "the output ended before its announced length",
                ),
                Err(failure) => failure,
            };
            self.resumptions += 1;
            let Some(validator) = self
                .answer
                .validator
                .clone()
                .filter(|_| self.resumptions <= MAX_RESUMPTIONS)
            else {
                return Err(broken);
            };
            tracing::debug!(received, failure = %broken, "a download broke off; resuming it");
            let range = Range {
                position: received,
                validator: &validator,
            };
            match http::request(&self.sources, &self.url, Some(range)).await {
                Ok(resumed)
                    if resumed.is_partial
                        && resumed.length.map(|rest| rest + received) == length =>
                {
                    self.answer = resumed;
                }
                // The URL may have changed meanwhile. The next attempt asks the provider for the
                // current one.
                Ok(_) | Err(_) => return Err(broken),
            }
        }
    }
}

/// Rate of a source while it is waited for. Time that this process spends otherwise does not count.
#[derive(Debug, Default)]
struct Rate {
    waited: Duration,
    received: u64,
}

impl Rate {
    fn measure(&mut self, waited: Duration, received: u64, limits: &Limits) -> Result<(), Failure> {
        self.waited += waited;
        self.received += received;
        if self.waited < limits.window {
            return Ok(());
        }
        let slow = self.received < limits.bytes_per_window;
        let detail = format!(
            "the output's host is too slow: it sent {} bytes in {} s",
            self.received,
            self.waited.as_secs()
        );
        *self = Self::default();
        if slow {
            Err(Failure::new(FailureType::SourceUnavailable, detail))
        } else {
            Ok(())
        }
    }
}

fn too_large(limit: u64) -> Failure {
    Failure::new(
        FailureType::SourceTooLarge,
        format!("the output is longer than {limit} bytes (MAX_OUTPUT_BYTES)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_given_up_and_a_pause_of_ours_is_not() {
        let limits = Limits::of(1 << 20);
        let mut rate = Rate::default();
        rate.measure(Duration::from_secs(29), 1, &limits).unwrap();
        rate.measure(Duration::from_secs(1), 1, &limits)
            .unwrap_err();
        rate.measure(Duration::from_secs(29), 1, &limits).unwrap();
        rate.measure(Duration::from_secs(1), limits.bytes_per_window, &limits)
            .unwrap();
    }
}
