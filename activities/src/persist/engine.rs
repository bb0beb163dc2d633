//! What moves outputs, and where to: the same for all outputs of a process.

use darkroom_storage::{Existing, Feature, NewObject, Storage};
use darkroom_workflows::job::JobId;

use super::{
    checkpoint::Journal, disposition, media_type::MediaType, memory::Memory, preview::Previewer,
    room::Room, source::Source, transfer::transfer,
};
use crate::failure::Failure;

/// The size of a part in memory, and the most that is written in one request from there.
pub const BUFFER: usize = 8 * 1024 * 1024;

/// The metadata in which the prediction stands that an object is of.
pub(super) const PREDICTION: &str = "prediction";

/// What moves bytes.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Where they go.
    pub storage: Storage,
    /// What all of them share.
    pub memory: Memory,
    /// Makes previews of pictures.
    pub previewer: Previewer,
    /// The longest object that is sent in one request, in bytes.
    pub stream_max: u64,
}

impl Engine {
    /// Whether bodies are sent while they arrive: only where a trailer can vouch for them.
    pub(super) fn streams(&self) -> bool {
        self.storage.has(Feature::StreamedTrailers)
    }

    /// Moves a source that is new, with no attempt after this one. Returns the key.
    ///
    /// # Errors
    /// If the source or the store fails.
    pub async fn store(
        &self,
        to: &Destination,
        source: Source,
        mut room: Room,
    ) -> Result<String, Failure> {
        let journal = Journal::unrecorded(to.index);
        let stored = Box::pin(transfer(self, to, source, None, &journal, &mut room)).await?;
        Ok(stored.object.s3_key)
    }
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
    /// What the provider calls it.
    pub name: Option<String>,
    /// What becomes of an output of an earlier generation under its key.
    pub existing: Existing,
}

impl Destination {
    /// The object that an output of this type is to be.
    pub(super) fn object(&self, media_type: MediaType) -> NewObject {
        NewObject {
            key: self.job_id.media_key(self.index, media_type.extension),
            content_type: media_type.content_type.to_owned(),
            content_disposition: disposition::of(self.name.as_deref(), media_type),
            metadata: vec![(PREDICTION, self.prediction_id.clone())],
            existing: self.existing,
        }
    }
}
