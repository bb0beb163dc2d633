//! Where an output's bytes come from: an HTTP answer as it arrives, or a `data:` URL. What breaks off is taken up again
//! where it broke, if the host allows it; what stalls, trickles or never ends is given up.
//!
//! - `http`: asking for a URL through the guard, hop by hop, and what the answers mean
//! - `coding`: content codings, and undoing them
//! - `data_url`: bytes within an address

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

/// What a source may cost us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes of one output.
    pub bytes: u64,
    /// How long a source may take to begin: some make the file only then.
    pub first_byte: Duration,
    /// How long it may stay silent afterwards.
    pub silence: Duration,
    /// The time over which its rate is measured.
    pub window: Duration,
    /// The bytes that it must yield within that time.
    pub bytes_per_window: u64,
}

impl Limits {
    /// At most this many bytes; 60 s to begin and 15 s of silence; 32 KiB/s on average of 30 s.
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

/// A file on its way.
#[derive(Debug)]
struct Download {
    url: String,
    answer: Answer,
    sources: Sources,
    resumptions: u32,
}

/// The longest piece that is handed on, as each is hashed at one go.
const MAX_CHUNK: usize = 1024 * 1024;

/// How often a source that breaks off is taken up again without having yielded anything in between.
const MAX_RESUMPTIONS: u32 = 3;

impl Sources {
    /// Sets up the clients.
    ///
    /// # Errors
    /// If they cannot be.
    pub fn new(guard: Guard, limits: Limits) -> Result<Self, SetupError> {
        let builder = || {
            Client::builder()
                .connect_timeout(Duration::from_secs(5))
                // Codings are undone here, by each of their names.
                .gzip(false)
                // What is not read of one download takes memory, which is bounded, but nothing from the others.
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

    /// The same, telling what may be there later.
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

    /// Opens a URL of which the first bytes are at hand already. If it has changed or cannot be had in part, the source
    /// begins at its start: see [`Source::position`].
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

/// What a source says of its file, true or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    /// The extension of its address, in small letters.
    pub(super) extension: Option<String>,
    /// The type that its host says it is of.
    pub(super) content_type: Option<String>,
}

/// Whether a file is within its address.
pub(super) fn is_inline(url: &str) -> bool {
    url.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

fn extension(url: &str) -> Option<String> {
    let url: Url = url.parse().ok()?;
    let (_, extension) = url.path_segments()?.next_back()?.rsplit_once('.')?;
    Some(extension.to_ascii_lowercase())
}

/// Bytes on their way in.
#[derive(Debug)]
pub struct Source {
    state: State,
    hints: Hints,
    /// What has arrived and was not taken yet.
    pending: Bytes,
    length: Option<u64>,
    /// How many of its bytes have arrived, and how many of them were taken.
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
    /// Its length as a whole, if it says so.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// How many of its bytes were taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What it says of its file.
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Makes sure that what has arrived, of which this is the digest, is the whole file. Where only the end of the connection tells
    /// its end, it is fetched once more: a connection that breaks is not likely to break at the same byte.
    ///
    /// # Errors
    /// If it is not, or cannot be fetched again.
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
            "the output's host does not say how long it is, and sent two different files",
        ))
    }

    /// Whether its bytes came within its address.
    pub(super) fn is_inline(&self) -> bool {
        matches!(self.state, State::Inline(_))
    }

    /// By what a later request can ask for the rest of the very same bytes.
    #[must_use]
    pub fn validator(&self) -> Option<&Validator> {
        match &self.state {
            State::Http(download) => download.answer.validator.as_ref(),
            State::Inline(_) => None,
        }
    }

    /// The next bytes, at most so many and never none; `None` at the end. A body that breaks off before its announced end
    /// is an error.
    ///
    /// # Errors
    /// If the source breaks off for good, stalls, trickles or exceeds the limit.
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

    /// The next bytes without taking them: so many, fewer only if there are no more.
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
    /// The next bytes. What breaks off, or ends before its announced end, is asked for from there on, if that can be.
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
                    "the output ended before its announced end",
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
            tracing::debug!(received, failure = %broken, "a download broke off; asking for the rest");
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
                // Its address may have changed meanwhile, which the next attempt finds out.
                Ok(_) | Err(_) => return Err(broken),
            }
        }
    }
}

/// How fast a source is while it is waited for: that we are slow is not its fault.
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
            "the output's host yielded {} bytes in {} s",
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
