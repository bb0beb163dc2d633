//! One output on its way: read once, hashed as it passes, and sent in one request or in parts, while it arrives or from
//! memory. Which of these is decided in [`super::transfer`].

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use darkroom_storage::{
    Existing, Feature, NewObject, StorageError, Upload, UploadedObject, UploadedPart,
    digest::Digest,
    multipart::{self, MAX_PARTS},
    streaming_body::{Closed, Frames},
};
use darkroom_workflows::failure::FailureType;
use futures::future::Either;

use super::{
    checkpoint::{Journal, UploadCheckpoint},
    engine::{BUFFER, Engine},
    inspector::Inspector,
    memory::Reserved,
    room::Room,
    source::Source,
};
use crate::failure::Failure;

/// The size of a part that is sent while its bytes arrive: what is lost at most when an attempt breaks off.
const STREAMED_PART: u64 = 64 * 1024 * 1024;

/// How long the store may take to accept a piece, or to answer when it has everything.
const STORE_SILENCE: Duration = Duration::from_mins(1);

/// One output on its way.
pub(super) struct Transfer<'a> {
    pub(super) engine: &'a Engine,
    pub(super) object: &'a NewObject,
    pub(super) journal: &'a Journal<'a>,
    pub(super) source: Source,
    pub(super) digest: Digest,
    pub(super) inspector: Inspector,
    pub(super) room: &'a mut Room,
    /// The whole of a picture that was sent from memory.
    pub(super) kept: Option<Buffer>,
}

/// A part in memory, and its place in the budget.
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
    pub(super) async fn buffered(&mut self, length: u64) -> Result<UploadedObject, Failure> {
        let buffer = self.fill(usize::try_from(length).unwrap_or(BUFFER)).await?;
        self.put(buffer).await
    }

    /// Sends a source of known length in one request while it arrives.
    pub(super) async fn streamed(&mut self, length: u64) -> Result<UploadedObject, Failure> {
        let storage = &self.engine.storage;
        let refused = match storage.put_streaming(self.object, length).await {
            Ok((frames, answer)) => match self.send_while_arriving(frames, answer).await {
                Ok((receipt, checksum)) => {
                    let sent = UploadedObject::new(self.object, &self.digest, checksum);
                    storage.confirm(&sent, receipt.e_tag.as_deref()).await?;
                    return Ok(sent);
                }
                Err(Unsent::Source(failure)) => return Err(failure),
                Err(Unsent::Store(error)) => error,
            },
            Err(error) => error,
        };
        if !self.may_be_there(&refused).await? {
            return Err(self.refused(refused));
        }
        self.compare_rest(length).await
    }

    /// Whether the store may have what it did not say it has. A store that answers early, as to a key that is taken, may not be
    /// heard while it is still sent to; and what it took may be there although its answer was lost.
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

    /// To compare what is there, what was to be sent must be known.
    async fn compare_rest(&mut self, length: u64) -> Result<UploadedObject, Failure> {
        while self.digest.size() < length {
            let Some(chunk) = self.chunk(usize::MAX).await? else {
                return Err(too_short());
            };
            self.take_in(&chunk);
        }
        let sent = UploadedObject::new(self.object, &self.digest, None);
        self.engine.storage.compare(&sent).await?;
        Ok(sent)
    }

    /// What is refused for its form while it arrives can be sent from memory: see [`Engine::streams`].
    fn refused(&self, error: StorageError) -> Failure {
        if error.is_of_the_form() {
            self.engine.storage.lacks(Feature::StreamedTrailers);
        }
        error.into()
    }

    /// Sends the whole from memory, and keeps it if it is a picture.
    async fn put(&mut self, all: Buffer) -> Result<UploadedObject, Failure> {
        let storage = &self.engine.storage;
        let sent = storage.put_verified(self.object, all.bytes.clone(), &self.digest);
        let sent = sent.await?;
        self.kept = Some(all).filter(|_| sent.content_type.starts_with("image/"));
        Ok(sent)
    }

    /// Begins to send a source in parts, unless it turns out to fit into one request.
    pub(super) async fn begin_parts(&mut self) -> Result<UploadedObject, Failure> {
        let buffers = self.source.length().is_none() || !self.engine.streams();
        let first = if buffers {
            Some(self.fill(BUFFER).await?)
        } else {
            None
        };
        let first = match first {
            Some(all) if all.bytes.len() < BUFFER => {
                self.check_end().await?;
                return self.put(all).await;
            }
            first => first,
        };
        let upload = self.engine.storage.begin_upload(self.object).await?;
        let checkpoint = UploadCheckpoint {
            s3_key: self.object.key.clone(),
            content_type: self.object.content_type.clone(),
            upload_id: upload.id.clone(),
            validator: self.source.validator().cloned(),
            parts: Vec::new(),
            bytes: 0,
            digest: Digest::new().save(),
            inspector: self.inspector.clone(),
        };
        let recorded = self
            .journal
            .record(|noted| noted.upload = Some(checkpoint))
            .await;
        if let Err(failure) = recorded {
            self.engine.storage.abort_upload(&upload).await;
            return Err(failure);
        }
        self.in_parts(&upload, Vec::new(), first).await
    }

    /// Sends the rest of a source in parts, and makes them one object.
    pub(super) async fn in_parts(
        &mut self,
        upload: &Upload,
        mut parts: Vec<UploadedPart>,
        first: Option<Buffer>,
    ) -> Result<UploadedObject, Failure> {
        match self.source.length().filter(|_| self.engine.streams()) {
            Some(length) => self.stream_parts(upload, &mut parts, length).await?,
            None => self.send_parts(upload, &mut parts, first).await?,
        }
        self.check_end().await?;
        let checksum = multipart::checksum(&parts);
        let sent = UploadedObject::new(self.object, &self.digest, checksum);
        self.tell_what_is_sent(&sent).await;
        let storage = &self.engine.storage;
        storage
            .complete_upload(upload, &parts, &sent, self.object.existing)
            .await?;
        self.journal.note(|checkpoint| checkpoint.upload = None);
        Ok(sent)
    }

    /// Sends the rest of a source of known length in parts, while it arrives.
    async fn stream_parts(
        &mut self,
        upload: &Upload,
        parts: &mut Vec<UploadedPart>,
        length: u64,
    ) -> Result<(), Failure> {
        let size = STREAMED_PART.max(length.div_ceil(MAX_PARTS));
        while self.source.position() < length {
            let size = size.min(length - self.source.position());
            let storage = &self.engine.storage;
            let (frames, answer) = storage.upload_part_streaming(upload, parts.len() + 1, size)?;
            let (mut part, crc32) = match self.send_while_arriving(frames, answer).await {
                Ok(sent) => sent,
                Err(Unsent::Source(failure)) => return Err(failure),
                Err(Unsent::Store(error)) => return Err(self.refused(error)),
            };
            part.crc32 = crc32;
            parts.push(part);
            self.keep(parts, &self.digest, &self.inspector);
        }
        Ok(())
    }

    /// Sends the rest of a source in parts from memory: one is on its way while the next one fills.
    async fn send_parts(
        &mut self,
        upload: &Upload,
        parts: &mut Vec<UploadedPart>,
        first: Option<Buffer>,
    ) -> Result<(), Failure> {
        let mut buffer = match first {
            Some(first) => first,
            None => self.fill(BUFFER).await?,
        };
        while !buffer.bytes.is_empty() {
            let is_last = buffer.bytes.len() < BUFFER;
            let (digest, inspector) = (self.digest.clone(), self.inspector.clone());
            let send = async {
                let storage = &self.engine.storage;
                let bytes = buffer.bytes.clone();
                let part = storage.upload_part(upload, parts.len() + 1, bytes).await?;
                // Its memory is free for whoever waits, the next part of this very source among them.
                drop(buffer);
                Ok::<_, Failure>(part)
            };
            let fill = async {
                if is_last {
                    Ok(None)
                } else {
                    self.fill(BUFFER).await.map(Some)
                }
            };
            let (part, next) = futures::try_join!(send, fill)?;
            parts.push(part);
            self.keep(parts, &digest, &inspector);
            match next {
                Some(next) => buffer = next,
                None => break,
            }
        }
        Ok(())
    }

    async fn check_end(&mut self) -> Result<(), Failure> {
        self.room.wait(self.source.check_end(&self.digest)).await?
    }

    /// Notes which parts are there, and the digest up to their end.
    fn keep(&self, parts: &[UploadedPart], digest: &Digest, inspector: &Inspector) {
        self.journal.note(|checkpoint| {
            if let Some(upload) = &mut checkpoint.upload {
                upload.parts = parts.to_vec();
                upload.bytes = digest.size();
                upload.digest = digest.save();
                upload.inspector.clone_from(inspector);
            }
        });
    }

    /// The next bytes of the source.
    async fn chunk(&mut self, most: usize) -> Result<Option<Bytes>, Failure> {
        let chunk = self.room.wait(self.source.chunk(most)).await??;
        if let Some(chunk) = &chunk {
            self.room.arrived(chunk.len()).await;
        }
        Ok(chunk)
    }

    /// Hashes bytes as they pass, and looks at them.
    fn take_in(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.inspector.update(bytes);
    }

    /// Reads up to this many bytes into memory; fewer only at the end of the source.
    async fn fill(&mut self, size: usize) -> Result<Buffer, Failure> {
        let reserved = self.room.buffer(size).await?;
        let mut bytes = BytesMut::with_capacity(size);
        while bytes.len() < size {
            let Some(chunk) = self.chunk(size - bytes.len()).await? else {
                break;
            };
            self.take_in(&chunk);
            bytes.extend_from_slice(&chunk);
            self.journal.advance_to(self.digest.size());
        }
        Ok(Buffer {
            bytes: bytes.freeze(),
            _reserved: reserved,
        })
    }

    /// Feeds a request while it is sent, and returns its answer; with the checksum if it took everything.
    async fn send_while_arriving<T>(
        &mut self,
        frames: Frames,
        answer: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<(T, Option<String>), Unsent> {
        let answer = std::pin::pin!(answer);
        let feed = std::pin::pin!(self.feed(frames));
        match futures::future::select(answer, feed).await {
            // The rest of what is refused is of no use.
            Either::Left((answer, _)) => Ok((answer?, None)),
            Either::Right((fed, answer)) => {
                let checksum = fed?;
                let answer = tokio::time::timeout(STORE_SILENCE, answer);
                let answer = answer.await.map_err(|_| StorageError::TooSlow)?;
                Ok((answer?, checksum))
            }
        }
    }

    /// Sends the bytes as they arrive, and returns their checksum; `None` if the store has answered before.
    async fn feed(&mut self, mut frames: Frames) -> Result<Option<String>, Unsent> {
        while frames.left() > 0 {
            let most = usize::try_from(frames.left()).unwrap_or(usize::MAX);
            let Some(chunk) = self.chunk(most).await? else {
                return Err(too_short().into());
            };
            self.take_in(&chunk);
            let sending = tokio::time::timeout(STORE_SILENCE, frames.send(chunk));
            if let Err(Closed) = sending.await.map_err(|_| StorageError::TooSlow)? {
                return Ok(None);
            }
            self.journal.advance_to(self.digest.size());
        }
        if self.source.length() == Some(self.digest.size())
            && self.journal.checkpoint().upload.is_none()
        {
            let checksum = Some(frames.checksum());
            let sent = UploadedObject::new(self.object, &self.digest, checksum);
            self.tell_what_is_sent(&sent).await;
        }
        Ok(frames.finish().await.ok())
    }

    /// Records what was sent, so that a later attempt knows what was stored although the answer was lost. If Temporal is away,
    /// the work goes on: what is stored can be found, and its source may be gone by the time that Temporal is back.
    async fn tell_what_is_sent(&self, sent: &UploadedObject) {
        let recorded = self.journal.record(|checkpoint| {
            checkpoint.sent = Some(sent.clone());
            checkpoint.facts = self.inspector.facts();
        });
        if let Err(failure) = recorded.await {
            tracing::debug!(%failure, "what was sent is not recorded");
        }
    }
}

fn too_short() -> Failure {
    Failure::new(
        FailureType::SourceUnavailable,
        "the output's host sent less than it announced",
    )
}

/// Why a request came to nothing whose body was still arriving.
enum Unsent {
    /// The source failed.
    Source(Failure),
    /// The store failed.
    Store(StorageError),
}

impl From<Failure> for Unsent {
    fn from(failure: Failure) -> Self {
        Self::Source(failure)
    }
}

impl From<StorageError> for Unsent {
    fn from(error: StorageError) -> Self {
        Self::Store(error)
    }
}
