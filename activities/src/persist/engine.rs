//! The engine that uploads outputs, shared by all of a process, and the destination of one output.

use darkroom_storage::{Existing, Feature, NewObject, Storage};
use darkroom_workflows::job::{JobId, PredictionId};

use super::{disposition, media_type::MediaType, memory::Memory, preview::Previewer};

/// Size of a part that is sent from memory, and of the largest object that is sent from memory in
/// one request, in bytes.
pub const BUFFER: usize = 8 * 1024 * 1024;

/// Metadata key under which an object carries the id of its prediction.
pub(super) const PREDICTION: &str = "prediction";

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

/// Identity of an output, from which its object is derived.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The job.
    pub job_id: JobId,
    /// Id of the prediction that made it.
    pub prediction_id: PredictionId,
    /// Position among the outputs of the prediction.
    pub index: u32,
    /// Name that the provider gives it.
    pub name: Option<String>,
    /// Treatment of an object of an earlier generation under the same key.
    pub existing: Existing,
}

impl Destination {
    /// Returns the object to write for an output of this media type.
    pub(super) fn object(&self, media_type: MediaType) -> NewObject {
        NewObject {
            key: self.job_id.media_key(self.index, media_type.extension),
            content_type: media_type.content_type.to_owned(),
            content_disposition: disposition::of(self.name.as_deref(), media_type),
            metadata: vec![(PREDICTION, self.prediction_id.to_string())],
            existing: self.existing,
        }
    }
}
