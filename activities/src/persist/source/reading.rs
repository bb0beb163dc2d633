//! A source that is being read: its bytes in chunks, within its limits of size and rate. A download
//! that breaks off is resumed in `download`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_storage::digest::Digest;
use darkroom_workflows::failure::FailureType;

use super::{Hints, Limits, OpenError, answer::Validator, download::Download};
use crate::{failure::Failure, persist::turns::Turn};

/// Maximum size of a chunk, in bytes: each is hashed without yielding to other tasks.
const MAX_CHUNK: usize = 1024 * 1024;

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
    _permit: Option<Turn>,
}

/// Origin of the bytes of a source.
#[derive(Debug)]
pub(super) enum State {
    Http(Box<Download>),
    Inline(Option<Bytes>),
}

impl Source {
    /// Begins to read a file at a position.
    ///
    /// # Errors
    /// If the announced length exceeds the size limit.
    pub(super) fn begin(
        state: State,
        hints: Hints,
        length: Option<u64>,
        position: u64,
        limits: Limits,
    ) -> Result<Self, Failure> {
        if length.is_some_and(|length| length > limits.bytes) {
            return Err(too_large(limits.bytes));
        }
        Ok(Self {
            state,
            hints,
            pending: Bytes::new(),
            length,
            received: position,
            position,
            rate: Rate::default(),
            limits,
            _permit: None,
        })
    }

    /// Stores a permit in the source, which is released with it.
    pub(in crate::persist) fn with_permit(self, permit: Option<Turn>) -> Self {
        Self {
            _permit: permit,
            ..self
        }
    }

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
    pub(in crate::persist) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Verifies that the bytes that arrived, of which this is the digest, are the whole file. If a
    /// body that was cut would look the same, the file is downloaded once more and compared: a
    /// connection that breaks is not likely to break at the same byte.
    ///
    /// # Errors
    /// If the second download differs or fails.
    pub(in crate::persist) async fn check_end(&self, digest: &Digest) -> Result<(), Failure> {
        let State::Http(download) = &self.state else {
            return Ok(());
        };
        if !download.answer.may_be_truncated {
            return Ok(());
        }
        let again = download.sources.request(&download.address, None).await;
        let mut again = again.map_err(OpenError::into_failure)?;
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

    /// Returns true if the bytes came in the URL itself.
    pub(in crate::persist) fn is_inline(&self) -> bool {
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
    fn a_read_below_the_minimum_rate_fails() {
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
