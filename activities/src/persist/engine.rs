//! The engine that uploads outputs, shared by all of a process.

use darkroom_storage::{Feature, Storage};

use super::{memory::Memory, preview::Previewer};

/// Size of a part that is sent from memory, and of the largest object that is sent from memory in
/// one request, in bytes.
pub const BUFFER: usize = 8 * 1024 * 1024;

/// Uploads outputs into the store.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The bucket.
    pub storage: Storage,
    /// The memory budget of all outputs.
    pub memory: Memory,
    /// Makes previews of pictures.
    pub previewer: Previewer,
    /// Size limit of an object that is streamed in one request, in bytes; a larger one is a
    /// multipart upload.
    pub stream_max: u64,
}

impl Engine {
    /// Returns true if bodies are sent while they arrive: only with a trailer checksum.
    pub(super) fn streams(&self) -> bool {
        self.storage.has(Feature::StreamedTrailers)
    }
}
