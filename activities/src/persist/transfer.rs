//! Transfers a source into the store, in a way that depends on what is known of its length:
//!
//! - A short source, announced or as it turns out: one request from memory, which can be retried.
//! - A known length: one request that is streamed while the bytes arrive; beyond
//!   [`Engine::stream_max`], a multipart upload with streamed parts.
//! - An unknown length, or a store that takes no trailer checksums: a multipart upload from memory,
//!   one part being sent while the next one fills.
//!
//! All buffers come out of one memory budget for the process.

use darkroom_storage::{UploadedObject, digest::Digest};
use darkroom_workflows::{
    contract::persist::PersistInput,
    failure::FailureType,
    job::{MediaFacts, ObjectKey},
};

use super::{
    budget_lease::BudgetLease,
    checkpoint::{CheckpointRecorder, UploadCheckpoint},
    engine::{BUFFER, Engine},
    inspector::Inspector,
    media_type::{self, MediaType},
    object,
    source::Source,
    upload::{Buffer, Transfer},
};
use crate::failure::Failure;

/// Transfers a source into the store and verifies the stored object. Resumes an earlier attempt's
/// upload if the source is open at the position that the upload had reached.
///
/// # Errors
/// If the source or the store fails.
pub(super) async fn transfer(
    engine: &Engine,
    input: &PersistInput,
    mut source: Source,
    left: Option<UploadCheckpoint>,
    recorder: &CheckpointRecorder<'_>,
    lease: &mut BudgetLease,
) -> Result<Stored, Failure> {
    recorder.note(|checkpoint| checkpoint.progress.bytes_total = source.length());
    if let Some(left) = left.filter(|left| left.bytes == source.position())
        && let Some(digest) = Digest::restore(&left.digest, left.bytes)
    {
        let object = object::of_upload(input, &left);
        let upload = left.upload();
        let mut transfer = Transfer {
            engine,
            object: &object,
            recorder,
            source,
            digest,
            inspector: left.inspector,
            lease,
            kept: None,
        };
        let object = transfer
            .in_parts(&upload, left.parts, left.part_size, None)
            .await?;
        return Ok(transfer.stored(object));
    }
    let head = lease.wait(source.peek(media_type::HEAD)).await??;
    if head.is_empty() {
        return Err(Failure::new(
            FailureType::UnsupportedMedia,
            "the source is empty",
        ));
    }
    let media_type = MediaType::of(&head, source.hints());
    let object = object::of_type(input, media_type);
    let mut transfer = Transfer {
        engine,
        object: &object,
        recorder,
        source,
        digest: Digest::new(),
        inspector: Inspector::begin(&head, media_type),
        lease,
        kept: None,
    };
    let stored = match transfer.source.length() {
        Some(length) if length <= BUFFER as u64 => transfer.put_buffered(length).await?,
        Some(length) if engine.streams() && length <= engine.stream_max => {
            Box::pin(transfer.put_streaming(length)).await?
        }
        Some(_) | None => transfer.begin_parts().await?,
    };
    Ok(transfer.stored(stored))
}

impl Engine {
    /// Uploads a new source without recording checkpoints: there is no later attempt. Returns the
    /// key.
    ///
    /// # Errors
    /// If the source or the store fails.
    pub async fn store(
        &self,
        input: &PersistInput,
        source: Source,
        mut lease: BudgetLease,
    ) -> Result<ObjectKey, Failure> {
        let recorder = CheckpointRecorder::without_heartbeat(input.index);
        let stored = Box::pin(transfer(self, input, source, None, &recorder, &mut lease)).await?;
        Ok(stored.object.s3_key)
    }
}

/// A stored output, with the facts seen as it passed.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) object: UploadedObject,
    pub(super) facts: MediaFacts,
    /// The whole of it, if it is an image and is in memory anyhow.
    pub(super) kept: Option<Buffer>,
}

impl Transfer<'_> {
    fn stored(self, object: UploadedObject) -> Stored {
        Stored {
            object,
            facts: self.inspector.facts(),
            kept: self.kept,
        }
    }
}
