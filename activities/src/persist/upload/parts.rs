//! The parts of a multipart upload: begun or resumed, sent while their bytes arrive or from memory,
//! kept in the checkpoint, and completed.

use darkroom_storage::{
    Upload, UploadedObject, UploadedPart,
    digest::Digest,
    multipart::{self, MAX_PARTS},
};

use super::{Buffer, SendError, Transfer};
use crate::{
    failure::Failure,
    persist::{checkpoint::UploadCheckpoint, engine::BUFFER, inspector::Inspector},
};

/// Size of a part that is sent while its bytes arrive, in bytes: the most that is lost when an
/// attempt breaks off.
const STREAMED_PART: u64 = 64 * 1024 * 1024;

impl Transfer<'_> {
    /// Begins a multipart upload, unless the source turns out to fit into one request.
    pub(in crate::persist) async fn begin_parts(&mut self) -> Result<UploadedObject, Failure> {
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
        let part_size = match self.source.length().filter(|_| !buffers) {
            Some(length) => STREAMED_PART.max(length.div_ceil(MAX_PARTS)),
            None => BUFFER as u64,
        };
        let upload = self.engine.storage.begin_upload(self.object).await?;
        let checkpoint = UploadCheckpoint {
            s3_key: self.object.key.clone(),
            content_type: self.object.content_type.clone(),
            upload_id: upload.id.clone(),
            validator: self.source.validator().cloned(),
            parts: Vec::new(),
            part_size,
            bytes: 0,
            digest: Digest::new().save(),
            inspector: self.inspector.clone(),
        };
        let recorded = self
            .recorder
            .record(|noted| noted.upload = Some(checkpoint))
            .await;
        if let Err(failure) = recorded {
            self.engine.storage.abort_upload(&upload).await;
            return Err(failure);
        }
        self.in_parts(&upload, Vec::new(), part_size, first).await
    }

    /// Sends the rest of a source in parts and completes the upload.
    pub(in crate::persist) async fn in_parts(
        &mut self,
        upload: &Upload,
        mut parts: Vec<UploadedPart>,
        part_size: u64,
        first: Option<Buffer>,
    ) -> Result<UploadedObject, Failure> {
        // The store may have turned out to take streams, or not to, since the upload began.
        let was_streamed = part_size > BUFFER as u64;
        let streams = was_streamed || (first.is_none() && self.engine.streams());
        match self.source.length().filter(|_| streams) {
            Some(length) => {
                self.stream_parts(upload, &mut parts, part_size, length)
                    .await?;
            }
            None => self.send_parts(upload, &mut parts, first).await?,
        }
        self.check_end().await?;
        let checksum = multipart::checksum(&parts);
        let sent = UploadedObject::new(self.object, &self.digest, checksum);
        self.record_sent(&sent).await;
        let storage = &self.engine.storage;
        storage
            .complete_upload(upload, &parts, &sent, self.object.existing)
            .await?;
        self.recorder.note(|checkpoint| checkpoint.upload = None);
        Ok(sent)
    }

    /// Sends the rest of a source of known length in parts, while it arrives.
    async fn stream_parts(
        &mut self,
        upload: &Upload,
        parts: &mut Vec<UploadedPart>,
        part_size: u64,
        length: u64,
    ) -> Result<(), Failure> {
        while self.source.position() < length {
            let size = part_size.min(length - self.source.position());
            let storage = &self.engine.storage;
            let (frames, answer) = storage.upload_part_streaming(upload, parts.len() + 1, size)?;
            let (mut part, crc32) = match self.send_while_arriving(frames, answer).await {
                Ok(sent) => sent,
                Err(SendError::Source(failure)) => return Err(failure),
                Err(SendError::Store(error)) => return Err(self.refused(error)),
            };
            part.crc32 = crc32;
            parts.push(part);
            self.checkpoint_parts(parts, &self.digest, &self.inspector);
        }
        Ok(())
    }

    /// Sends the rest of a source in parts from memory: one is being sent while the next one fills.
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
                // Frees the memory for outputs that wait, and for the next part of this one.
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
            self.checkpoint_parts(parts, &digest, &inspector);
            match next {
                Some(next) => buffer = next,
                None => break,
            }
        }
        Ok(())
    }

    async fn check_end(&mut self) -> Result<(), Failure> {
        self.lease.wait(self.source.check_end(&self.digest)).await?
    }

    /// Sets the parts that the store has, and the digest up to their end, in the checkpoint.
    fn checkpoint_parts(&self, parts: &[UploadedPart], digest: &Digest, inspector: &Inspector) {
        self.recorder.note(|checkpoint| {
            if let Some(upload) = &mut checkpoint.upload {
                upload.parts = parts.to_vec();
                upload.bytes = digest.size();
                upload.digest = digest.save();
                upload.inspector.clone_from(inspector);
            }
        });
    }
}
