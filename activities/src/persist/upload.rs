//! The upload of one output: its bytes are read once, hashed as they pass, and sent while they
//! arrive or from memory. Sending them in one request is here. [`super::transfer`] chooses.
//!
//! - `parts`: sending them in the parts of a multipart upload

mod parts;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use darkroom_storage::{
    Existing, Feature, NewObject, StorageError, UploadedObject,
    digest::Digest,
    streaming_body::{ChunkSender, Closed},
};
use darkroom_workflows::failure::FailureType;
use futures::future::Either;

use super::{
    budget_lease::BudgetLease,
    checkpoint::CheckpointRecorder,
    engine::{BUFFER, Engine},
    inspector::Inspector,
    memory::Reserved,
    source::Source,
};
use crate::failure::Failure;

/// Timeout of the store for accepting a chunk, and for answering once it has everything.
const STORE_TIMEOUT: Duration = Duration::from_mins(1);

/// Timeout of recording what was sent. Stores give up a request that sends nothing for 20 s or so,
/// and the SDK an activity whose heartbeats are not acknowledged for 15 s.
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// The upload of one output under way.
pub(super) struct Transfer<'a> {
    pub(super) engine: &'a Engine,
    pub(super) object: &'a NewObject,
    pub(super) recorder: &'a CheckpointRecorder<'a>,
    pub(super) source: Source,
    pub(super) digest: Digest,
    pub(super) inspector: Inspector,
    pub(super) lease: &'a mut BudgetLease,
    /// The whole of an image that was sent from memory, for its preview.
    pub(super) kept: Option<Buffer>,
}

/// A part in memory, with its reservation in the budget.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Bytes,
    _reserved: Reserved,
}

impl Buffer {
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Transfer<'_> {
    /// Sends a source that fits into memory in one request.
    pub(super) async fn put_buffered(&mut self, length: u64) -> Result<UploadedObject, Failure> {
        let buffer = self.fill(usize::try_from(length).unwrap_or(BUFFER)).await?;
        self.put(buffer).await
    }

    /// Sends a source of known length in one request while it arrives.
    pub(super) async fn put_streaming(&mut self, length: u64) -> Result<UploadedObject, Failure> {
        let storage = &self.engine.storage;
        let refused = match storage.put_streaming(self.object, length).await {
            Ok((frames, answer)) => match self.send_while_arriving(frames, answer).await {
                Ok((written, checksum)) => {
                    let sent = UploadedObject::new(self.object, &self.digest, checksum);
                    storage.confirm(&sent, written.e_tag.as_deref()).await?;
                    return Ok(sent);
                }
                Err(SendError::Source(failure)) => return Err(failure),
                Err(SendError::Store(error)) => error,
            },
            Err(error) => error,
        };
        if !self.may_be_there(&refused).await? {
            return Err(self.refused(refused));
        }
        self.compare_rest(length).await
    }

    /// Returns true if the store may have the object although it did not confirm it: an early
    /// answer, for instance that the key exists, can be lost while the body is still being sent,
    /// and so can the confirmation.
    async fn may_be_there(&self, error: &StorageError) -> Result<bool, Failure> {
        Ok(match error {
            StorageError::AlreadyExists => true,
            StorageError::Unavailable { .. } | StorageError::TooSlow
                if self.object.existing == Existing::Keep =>
            {
                let head = self.engine.storage.head(&self.object.key).await?;
                head.is_some()
            }
            _ => false,
        })
    }

    /// Compares the stored object with the source, of which the rest is read for its digest.
    async fn compare_rest(&mut self, length: u64) -> Result<UploadedObject, Failure> {
        while self.digest.size() < length {
            let Some(chunk) = self.chunk(usize::MAX).await? else {
                return Err(too_short());
            };
            self.hash_and_inspect(&chunk);
        }
        let sent = UploadedObject::new(self.object, &self.digest, None);
        self.engine.storage.compare(&sent).await?;
        Ok(sent)
    }

    /// Converts an error of a streamed request. If the store refuses its form, later requests are
    /// sent from memory: see [`Engine::streams`].
    fn refused(&self, error: StorageError) -> Failure {
        if error.is_unsupported_request() {
            self.engine.storage.lacks(Feature::StreamedTrailers);
        }
        error.into()
    }

    /// Sends the whole from memory, and keeps it if it is an image.
    async fn put(&mut self, all: Buffer) -> Result<UploadedObject, Failure> {
        let storage = &self.engine.storage;
        let sent = storage.put_verified(self.object, all.bytes.clone(), &self.digest);
        let sent = sent.await?;
        self.kept = Some(all).filter(|_| sent.content_type.starts_with("image/"));
        Ok(sent)
    }

    /// Returns the next bytes of the source; `None` at its end.
    async fn chunk(&mut self, most: usize) -> Result<Option<Bytes>, Failure> {
        let chunk = self.lease.wait(self.source.chunk(most)).await??;
        if let Some(chunk) = &chunk {
            self.lease.arrived(chunk.len()).await;
        }
        Ok(chunk)
    }

    /// Hashes and inspects bytes as they pass.
    fn hash_and_inspect(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.inspector.update(bytes);
    }

    /// Reads up to this many bytes into memory; fewer only at the end of the source.
    async fn fill(&mut self, size: usize) -> Result<Buffer, Failure> {
        let reserved = self.lease.reserve(size).await?;
        let mut bytes = BytesMut::with_capacity(size);
        while bytes.len() < size {
            let Some(chunk) = self.chunk(size - bytes.len()).await? else {
                break;
            };
            self.hash_and_inspect(&chunk);
            bytes.extend_from_slice(&chunk);
            self.recorder.advance_to(self.digest.size());
        }
        Ok(Buffer {
            bytes: bytes.freeze(),
            _reserved: reserved,
        })
    }

    /// Feeds a request while it is sent. Returns its answer, with the checksum if the store took
    /// the whole body.
    async fn send_while_arriving<T>(
        &mut self,
        frames: ChunkSender,
        answer: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<(T, Option<String>), SendError> {
        let answer = std::pin::pin!(answer);
        let feed = std::pin::pin!(self.feed(frames));
        match futures::future::select(answer, feed).await {
            // The store has answered early: the rest of the body is not sent.
            Either::Left((answer, _)) => Ok((answer?, None)),
            Either::Right((fed, answer)) => {
                let checksum = fed?;
                let answer = tokio::time::timeout(STORE_TIMEOUT, answer);
                let answer = answer.await.map_err(|_| StorageError::TooSlow)?;
                Ok((answer?, checksum))
            }
        }
    }

    /// Sends the bytes as they arrive, and returns their checksum; `None` if the store answered
    /// before the end.
    async fn feed(&mut self, mut frames: ChunkSender) -> Result<Option<String>, SendError> {
        while frames.left() > 0 {
            let most = usize::try_from(frames.left()).unwrap_or(usize::MAX);
            let Some(chunk) = self.chunk(most).await? else {
                return Err(too_short().into());
            };
            self.hash_and_inspect(&chunk);
            let sending = tokio::time::timeout(STORE_TIMEOUT, frames.send(chunk));
            if let Err(Closed) = sending.await.map_err(|_| StorageError::TooSlow)? {
                return Ok(None);
            }
            self.recorder.advance_to(self.digest.size());
        }
        if self.source.length() == Some(self.digest.size())
            && self.recorder.checkpoint().upload.is_none()
        {
            let checksum = Some(frames.checksum());
            let sent = UploadedObject::new(self.object, &self.digest, checksum);
            self.record_sent(&sent).await;
        }
        Ok(frames.finish().await.ok())
    }

    /// Records what was sent, so that a later attempt finds the object if the store's answer is
    /// lost. If Temporal does not answer, the upload continues soon: the object can be found later,
    /// the source may be gone by the time Temporal is back, and the store, which has yet to see the
    /// end of the body, waits.
    async fn record_sent(&self, sent: &UploadedObject) {
        let recorded = self.recorder.record(|checkpoint| {
            checkpoint.sent = Some(sent.clone());
            checkpoint.facts = self.inspector.facts();
        });
        match tokio::time::timeout(RECORD_TIMEOUT, recorded).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                tracing::debug!(%failure, "cannot record the object that was sent");
            }
            Err(_) => tracing::debug!("Temporal does not answer; the object is not recorded"),
        }
    }
}

fn too_short() -> Failure {
    Failure::new(
        FailureType::SourceUnavailable,
        "the output's host sent less than it announced",
    )
}

/// Failure of a request whose body was still arriving.
enum SendError {
    /// The source failed.
    Source(Failure),
    /// The store failed.
    Store(StorageError),
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> Self {
        Self::Source(failure)
    }
}

impl From<StorageError> for SendError {
    fn from(error: StorageError) -> Self {
        Self::Store(error)
    }
}
