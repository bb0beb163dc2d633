//! Moving bytes from a source into the store: how depends on what is known of them.
//!
//! - Little, or little as it turns out: in memory, one request, which can be repeated.
//! - A known length: one request that is sent while the bytes arrive; beyond [`Engine::stream_max`], parts sent like that.
//! - An unknown length, or a store that takes no checksums in trailers: parts in memory, one on its way while the next
//!   one fills.
//!
//! Whatever is buffered comes out of one budget for the process.

use darkroom_storage::{UploadedObject, digest::Digest};
use darkroom_workflows::failure::FailureType;

use super::{
    checkpoint::{Journal, UploadCheckpoint},
    engine::{BUFFER, Destination, Engine},
    media_type::{self, MediaType},
    room::Room,
    source::Source,
    upload::Transfer,
};
use crate::failure::Failure;

/// Moves what a source yields into the store, and makes sure that it is there. An upload that an earlier attempt left is
/// resumed if the source is open where that attempt stopped.
///
/// # Errors
/// If the source or the store fails.
pub(super) async fn transfer(
    engine: &Engine,
    to: &Destination,
    mut source: Source,
    left: Option<UploadCheckpoint>,
    journal: &Journal<'_>,
    room: &mut Room,
) -> Result<UploadedObject, Failure> {
    journal.note(|checkpoint| checkpoint.progress.bytes_total = source.length());
    if let Some(left) = left.filter(|left| left.bytes == source.position())
        && let Some(digest) = Digest::restore(&left.digest, left.bytes)
    {
        let object = left.object(to);
        let transfer = Transfer {
            engine,
            object: &object,
            journal,
            source,
            digest,
            room,
        };
        return transfer.in_parts(&left.upload(), left.parts, None).await;
    }
    let head = room.wait(source.peek(media_type::HEAD)).await??;
    if head.is_empty() {
        return Err(Failure::new(
            FailureType::UnsupportedMedia,
            "the source is empty",
        ));
    }
    let object = to.object(MediaType::of(&head, source.hints()));
    let transfer = Transfer {
        engine,
        object: &object,
        journal,
        source,
        digest: Digest::new(),
        room,
    };
    match transfer.source.length() {
        Some(length) if length <= BUFFER as u64 => transfer.buffered(length).await,
        Some(length) if engine.streams() && length <= engine.stream_max => {
            Box::pin(transfer.streamed(length)).await
        }
        Some(_) | None => transfer.begin_parts().await,
    }
}
