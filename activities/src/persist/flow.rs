//! One output on its way: read once, hashed as it passes, and sent in one request or in parts, while it arrives or from
//! memory. Which of these is decided in [`super::transfer`].

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use darkroom_storage::{
    digest::Digest,
    streaming_body::{Closed, Frames},
};
use darkroom_workflows::failure::FailureType;
use futures::future::Either;

use super::{
    checkpoint::{Journal, PartCheckpoint, Sent, UploadCheckpoint},
    memory::Reserved,
    multipart::{self, Multipart},
    room::Room,
    source::Source,
    store::{self, Object, Written},
    transfer::{BUFFER, Engine},
};
use crate::failure::Failure;

/// The size of a part that is sent while its bytes arrive: what is lost at most when an attempt breaks off.
const STREAMED_PART: u64 = 64 * 1024 * 1024;

/// The most parts that an upload can have.
const MAX_PARTS: u64 = 10_000;

/// How long the store may take to accept a piece, or to answer when it has everything.
const STORE_SILENCE: Duration = Duration::from_mins(1);

/// One output on its way.
pub(super) struct Flow<'a> {
    pub(super) engine: &'a Engine,
    pub(super) object: &'a Object<'a>,
    pub(super) journal: &'a Journal<'a>,
    pub(super) source: Source,
    pub(super) digest: Digest,
    pub(super) room: Room,
}

/// A part in memory, and its place in the budget.
pub(super) struct Buffer {
    bytes: Bytes,
    _reserved: Reserved,
}

impl Flow<'_> {
    pub(super) async fn whole(mut self, length: u64) -> Result<Sent, Failure> {
        let buffer = self.fill(usize::try_from(length).unwrap_or(BUFFER)).await?;
        self.object.write(buffer.bytes, &self.digest).await
    }

    pub(super) async fn streamed(mut self, length: u64) -> Result<Sent, Failure> {
        let (frames, answer) = self.object.stream(length);
        match self.send_while_arriving(frames, answer).await {
            Ok((Written::Done(receipt), checksum)) => {
                let sent = self.object.sent(&self.digest, checksum);
                self.object.confirm(&sent, receipt.e_tag).await?;
                return Ok(sent);
            }
            Ok((Written::Taken, _)) => {}
            // A store that answers early, as to a key that is taken, may not be heard while it is still sent to; and what
            // it took may be there although its answer was lost.
            Err(failure) => {
                let may_be_there =
                    failure.kind() == Some(FailureType::StorageUnavailable) && !self.object.replace;
                if !may_be_there
                    || store::head(&self.engine.storage, &self.object.s3_key)
                        .await?
                        .is_none()
                {
                    return Err(failure);
                }
            }
        }
        // To compare what is there, what was to be sent must be known.
        while self.digest.size() < length {
            let Some(chunk) = self.chunk(usize::MAX).await? else {
                return Err(too_short());
            };
            self.digest.update(&chunk);
        }
        let sent = self.object.sent(&self.digest, None);
        self.object.compare(&sent).await?;
        Ok(sent)
    }

    pub(super) async fn begin_parts(mut self) -> Result<Sent, Failure> {
        let buffers = self.source.length().is_none() || !self.engine.streams();
        let first = if buffers {
            Some(self.fill(BUFFER).await?)
        } else {
            None
        };
        if let Some(all) = first.as_ref().filter(|first| first.bytes.len() < BUFFER) {
            return self.object.write(all.bytes.clone(), &self.digest).await;
        }
        let multipart = Multipart::begin(self.object).await?;
        let upload = UploadCheckpoint {
            s3_key: self.object.s3_key.clone(),
            content_type: self.object.content_type.clone(),
            upload_id: multipart.id.clone(),
            validator: self.source.validator().cloned(),
            parts: Vec::new(),
            bytes: 0,
            digest: Digest::new().save(),
        };
        if let Err(failure) = self
            .journal
            .record(|checkpoint| checkpoint.upload = Some(upload))
            .await
        {
            multipart.abort().await;
            return Err(failure);
        }
        self.in_parts(multipart, Vec::new(), first).await
    }

    pub(super) async fn in_parts(
        mut self,
        multipart: Multipart<'_>,
        mut parts: Vec<PartCheckpoint>,
        first: Option<Buffer>,
    ) -> Result<Sent, Failure> {
        match self.source.length().filter(|_| self.engine.streams()) {
            Some(length) => self.stream_parts(&multipart, &mut parts, length).await?,
            None => self.send_parts(&multipart, &mut parts, first).await?,
        }
        let sent = self.object.sent(&self.digest, multipart::checksum(&parts));
        self.tell_what_is_sent(&sent).await;
        multipart.complete(&parts, &sent).await?;
        self.journal.note(|checkpoint| checkpoint.upload = None);
        Ok(sent)
    }

    /// Sends the rest of a source of known length in parts, while it arrives.
    async fn stream_parts(
        &mut self,
        multipart: &Multipart<'_>,
        parts: &mut Vec<PartCheckpoint>,
        length: u64,
    ) -> Result<(), Failure> {
        let size = STREAMED_PART.max(length.div_ceil(MAX_PARTS));
        while self.source.position() < length {
            let size = size.min(length - self.source.position());
            let (frames, answer) = multipart.stream(parts.len() + 1, size)?;
            let (mut part, crc32) = self.send_while_arriving(frames, answer).await?;
            part.crc32 = crc32;
            parts.push(part);
            self.keep(parts, &self.digest.clone());
        }
        Ok(())
    }

    /// Sends the rest of a source in parts from memory: one is on its way while the next one fills.
    async fn send_parts(
        &mut self,
        multipart: &Multipart<'_>,
        parts: &mut Vec<PartCheckpoint>,
        first: Option<Buffer>,
    ) -> Result<(), Failure> {
        let mut buffer = match first {
            Some(first) => first,
            None => self.fill(BUFFER).await?,
        };
        while !buffer.bytes.is_empty() {
            let is_last = buffer.bytes.len() < BUFFER;
            let digest = self.digest.clone();
            let send = async {
                let part = multipart
                    .send(parts.len() + 1, buffer.bytes.clone())
                    .await?;
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
            self.keep(parts, &digest);
            match next {
                Some(next) => buffer = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Notes which parts are there, and the digest up to their end.
    fn keep(&self, parts: &[PartCheckpoint], digest: &Digest) {
        self.journal.note(|checkpoint| {
            if let Some(upload) = &mut checkpoint.upload {
                upload.parts = parts.to_vec();
                upload.bytes = digest.size();
                upload.digest = digest.save();
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

    /// Reads up to this many bytes into memory; fewer only at the end of the source.
    async fn fill(&mut self, size: usize) -> Result<Buffer, Failure> {
        let reserved = self.room.buffer(size).await?;
        let mut bytes = BytesMut::with_capacity(size);
        while bytes.len() < size {
            let Some(chunk) = self.chunk(size - bytes.len()).await? else {
                break;
            };
            self.digest.update(&chunk);
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
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(T, Option<String>), Failure> {
        let answer = std::pin::pin!(answer);
        let feed = std::pin::pin!(self.feed(frames));
        match futures::future::select(answer, feed).await {
            // Nobody waits for the rest of what is refused.
            Either::Left((answer, _)) => Ok((answer?, None)),
            Either::Right((fed, answer)) => {
                let checksum = match fed {
                    Ok(checksum) => Some(checksum),
                    Err(Unfed::Refused) => None,
                    Err(Unfed::Failed(failure)) => return Err(failure),
                };
                let answer = tokio::time::timeout(STORE_SILENCE, answer)
                    .await
                    .map_err(|_| silent())?;
                Ok((answer?, checksum))
            }
        }
    }

    async fn feed(&mut self, mut frames: Frames) -> Result<String, Unfed> {
        while frames.left() > 0 {
            let most = usize::try_from(frames.left()).unwrap_or(usize::MAX);
            let Some(chunk) = self.chunk(most).await.map_err(Unfed::Failed)? else {
                return Err(Unfed::Failed(too_short()));
            };
            self.digest.update(&chunk);
            let sending = tokio::time::timeout(STORE_SILENCE, frames.send(chunk));
            sending.await.map_err(|_| Unfed::Failed(silent()))??;
            self.journal.advance_to(self.digest.size());
        }
        if self.source.length() == Some(self.digest.size())
            && self.journal.checkpoint().upload.is_none()
        {
            self.tell_what_is_sent(&self.object.sent(&self.digest, Some(frames.checksum())))
                .await;
        }
        Ok(frames.finish().await?)
    }

    /// Whoever comes after knows what was stored although nobody heard of it. If Temporal is away, so be it: what is stored can be
    /// found, and its source may be gone by the time that Temporal is back.
    async fn tell_what_is_sent(&self, sent: &Sent) {
        if let Err(failure) = self
            .journal
            .record(|checkpoint| checkpoint.sent = Some(sent.clone()))
            .await
        {
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

/// Why a request did not get all of its body.
enum Unfed {
    /// It was answered before.
    Refused,
    /// The source or the store failed.
    Failed(Failure),
}

impl From<Closed> for Unfed {
    fn from(_: Closed) -> Self {
        Self::Refused
    }
}

fn silent() -> Failure {
    Failure::new(
        FailureType::StorageUnavailable,
        format!("the store was silent for {} s", STORE_SILENCE.as_secs()),
    )
}
