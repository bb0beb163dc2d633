//! Moving bytes from a source into the store: how depends on what is known of them.
//!
//! - Little, or little as it turns out: in memory, one request, which can be repeated.
//! - A known length: one request that is sent while the bytes arrive; beyond [`Engine::stream_max`], parts sent like that.
//! - An unknown length, or a store that takes no checksums in trailers: parts in memory, one on its way while the next
//!   one fills.
//!
//! Whatever is buffered comes out of one budget for the process.

use darkroom_storage::{Storage, bucket::Checksums, digest::Digest};
use darkroom_workflows::{failure::FailureType, job::JobId};

use super::{
    checkpoint::{Journal, Sent, UploadCheckpoint},
    flow::Flow,
    media_type::{self, MediaType},
    memory::Memory,
    multipart::Multipart,
    room::Room,
    source::Source,
    store::Object,
};
use crate::failure::Failure;

/// The size of a part in memory, and the most that is written in one request from there.
pub const BUFFER: usize = 8 * 1024 * 1024;

/// What moves bytes.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Where they go.
    pub storage: Storage,
    /// What all of them share.
    pub memory: Memory,
    /// The longest object that is sent in one request.
    pub stream_max: u64,
}

/// Which output it is.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Of which job.
    pub job_id: JobId,
    /// The provider's id of the prediction that made it.
    pub prediction_id: String,
    /// At which position.
    pub index: u32,
    /// Whether what lies under its key is of an earlier generation and to be replaced.
    pub replace: bool,
}

impl Engine {
    /// Moves what a source yields into the store, and makes sure that it is there. An upload that an earlier attempt left
    /// is gone on with if the source is open where that attempt stopped.
    ///
    /// # Errors
    /// If the source or the store fails.
    pub(super) async fn transfer(
        &self,
        to: &Destination,
        mut source: Source,
        left: Option<UploadCheckpoint>,
        journal: &Journal<'_>,
        mut room: Room,
    ) -> Result<Sent, Failure> {
        journal.note(|checkpoint| checkpoint.progress.bytes_total = source.length());
        if let Some(left) = left.filter(|left| left.bytes == source.position())
            && let Some(digest) = Digest::restore(&left.digest, left.bytes)
        {
            let UploadCheckpoint {
                s3_key,
                content_type,
                ..
            } = left;
            // How it is to be shown was said when it began.
            let (storage, prediction_id, replace) =
                (&self.storage, to.prediction_id.clone(), to.replace);
            let object = Object {
                storage,
                s3_key,
                prediction_id,
                content_type,
                is_attachment: false,
                replace,
            };
            let multipart = Multipart::resume(&object, left.upload_id);
            let flow = Flow {
                engine: self,
                object: &object,
                journal,
                source,
                digest,
                room,
            };
            return flow.in_parts(multipart, left.parts, None).await;
        }
        let head = room.wait(source.peek(media_type::HEAD)).await??;
        if head.is_empty() {
            return Err(Failure::new(
                FailureType::UnsupportedMedia,
                "the source is empty",
            ));
        }
        let media_type = MediaType::of(&head);
        let object = Object {
            storage: &self.storage,
            s3_key: to.job_id.media_key(to.index, media_type.extension),
            prediction_id: to.prediction_id.clone(),
            content_type: media_type.content_type.to_owned(),
            is_attachment: media_type.is_active,
            replace: to.replace,
        };
        let flow = Flow {
            engine: self,
            object: &object,
            journal,
            source,
            digest: Digest::new(),
            room,
        };
        match flow.source.length() {
            Some(length) if length <= BUFFER as u64 => flow.whole(length).await,
            Some(length) if self.streams() && length <= self.stream_max => {
                flow.streamed(length).await
            }
            Some(_) | None => flow.begin_parts().await,
        }
    }

    /// Makes an object of an upload whose parts are all there: an earlier attempt could not.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn complete(
        &self,
        left: UploadCheckpoint,
        sent: &Sent,
        prediction_id: &str,
        replace: bool,
    ) -> Result<(), Failure> {
        let UploadCheckpoint {
            s3_key,
            content_type,
            upload_id,
            parts,
            ..
        } = left;
        let (storage, prediction_id) = (&self.storage, prediction_id.to_owned());
        let object = Object {
            storage,
            s3_key,
            prediction_id,
            content_type,
            is_attachment: false,
            replace,
        };
        Multipart::resume(&object, upload_id)
            .complete(&parts, sent)
            .await
    }

    /// The same for a source that is new, with nobody to come after. Returns the key.
    ///
    /// # Errors
    /// If the source or the store fails.
    pub async fn store(
        &self,
        to: &Destination,
        source: Source,
        room: Room,
    ) -> Result<String, Failure> {
        Box::pin(self.transfer(to, source, None, &Journal::unrecorded(to.index), room))
            .await
            .map(|sent| sent.s3_key)
    }

    /// Whether bodies are sent while they arrive: only where a trailer can vouch for them.
    pub(super) fn streams(&self) -> bool {
        self.storage.checksums == Checksums::WhenSupported
    }
}
