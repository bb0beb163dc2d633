//! The object that an output is stored as: its key, its headers and its metadata follow from the
//! input of `persist` and the media type. The text of `Content-Disposition` is in `disposition`.

use darkroom_storage::{Existing, NewObject, ObjectHead};
use darkroom_workflows::contract::persist::PersistInput;

use super::{checkpoint::UploadCheckpoint, disposition, media_type::MediaType};

/// Metadata key under which an object carries the id of its prediction.
const PREDICTION: &str = "prediction";

/// Returns the object to write for an output of this media type.
pub(super) fn of_type(input: &PersistInput, media_type: MediaType) -> NewObject {
    NewObject {
        key: input.job_id.media_key(input.index, media_type.extension),
        content_type: media_type.content_type.to_owned(),
        content_disposition: disposition::of(input.name.as_deref(), media_type),
        metadata: metadata(input),
        existing: existing(input),
    }
}

/// Returns the object that an upload under way creates. Its `Content-Disposition` was set when the
/// upload began.
pub(super) fn of_upload(input: &PersistInput, upload: &UploadCheckpoint) -> NewObject {
    NewObject {
        key: upload.s3_key.clone(),
        content_type: upload.content_type.clone(),
        content_disposition: None,
        metadata: metadata(input),
        existing: existing(input),
    }
}

/// Returns the treatment of an object that is already stored under the key.
pub(super) fn existing(input: &PersistInput) -> Existing {
    if input.replace {
        Existing::Replace
    } else {
        Existing::Keep
    }
}

/// Returns true if an object is of this prediction: there may be one of an earlier generation.
pub(super) fn is_of_prediction(input: &PersistInput, head: &ObjectHead) -> bool {
    head.metadata(PREDICTION) == Some(input.prediction.id.as_str())
}

fn metadata(input: &PersistInput) -> Vec<(&'static str, String)> {
    vec![(PREDICTION, input.prediction.id.to_string())]
}
