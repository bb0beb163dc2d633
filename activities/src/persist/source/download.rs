//! A download under way. One that breaks off is resumed where it broke, if the host allows it.

use std::time::Duration;

use bytes::Bytes;
use darkroom_workflows::failure::FailureType;

use super::{
    Sources,
    answer::{Answer, Range},
    http,
};
use crate::{failure::Failure, guard::verbatim::Address};

/// Maximum number of times in a row that a download is resumed without having yielded anything.
const MAX_RESUMPTIONS: u32 = 3;

/// A download under way.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) address: Address,
    pub(super) answer: Answer,
    pub(super) sources: Sources,
    resumptions: u32,
}

impl Download {
    pub(super) fn new(address: &Address, answer: Answer, sources: &Sources) -> Self {
        Self {
            address: address.clone(),
            answer,
            sources: sources.clone(),
            resumptions: 0,
        }
    }

    /// Returns the next bytes. If the body breaks off, or ends before its announced end, the
    /// download is resumed from there, if the host allows it.
    pub(super) async fn receive(
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
            match http::request(&self.sources, &self.address, Some(range)).await {
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
