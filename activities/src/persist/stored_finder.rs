//! Finds the object that an earlier attempt stored, by its checkpoint or among the keys of the
//! output. What is done with an upload that an earlier attempt did not complete is in `resume`.

use darkroom_storage::{ObjectHead, Storage, UploadedObject};
use darkroom_workflows::{contract::persist::PersistInput, job::ObjectKey};

use super::{
    checkpoint::PersistCheckpoint,
    inspector::Inspector,
    media_type::{self, MediaType},
    object::is_of_prediction,
    source::Hints,
    transfer::Stored,
};
use crate::failure::Failure;

/// Maximum number of keys that are listed for one output: one for each media type that it ever had.
const KEYS_OF_AN_OUTPUT: u16 = 32;

/// Finder of the object that earlier attempts stored for an output.
pub(super) struct StoredFinder<'a> {
    pub(super) storage: &'a Storage,
    pub(super) input: &'a PersistInput,
}

impl StoredFinder<'_> {
    /// Returns what an earlier attempt stored without being able to report it.
    pub(super) async fn find(
        &self,
        earlier: &PersistCheckpoint,
    ) -> Result<Option<Stored>, Failure> {
        if let Some(sent) = &earlier.sent {
            let head = self.storage.head(&sent.s3_key).await?;
            let is_there =
                head.is_some_and(|head| is_of_prediction(self.input, &head) && head.may_be(sent));
            return Ok(is_there.then(|| Stored {
                object: sent.clone(),
                facts: earlier.facts,
                kept: None,
            }));
        }
        let Some((s3_key, head)) = self.present().await? else {
            return Ok(None);
        };
        let Some(sha256) = head.sha256 else {
            return Ok(None);
        };
        let object = UploadedObject {
            s3_key,
            content_type: head.content_type,
            size: head.size,
            sha256,
            checksum: None,
        };
        self.described(object).await.map(Some)
    }

    /// Returns what an earlier attempt stored if neither its checkpoint nor the source can tell
    /// what it was. An object is in the store as a whole or not at all, so its digest is computed
    /// from it.
    pub(super) async fn recover(&self) -> Result<Option<Stored>, Failure> {
        let Some((s3_key, head)) = self.present().await? else {
            return Ok(None);
        };
        let digest = self.storage.digest(&s3_key).await?;
        let object = UploadedObject {
            s3_key,
            content_type: head.content_type,
            size: digest.size(),
            sha256: digest.sha256(),
            checksum: None,
        };
        self.described(object).await.map(Some)
    }

    /// Inspects the beginning of a stored object.
    async fn described(&self, object: UploadedObject) -> Result<Stored, Failure> {
        let head = self
            .storage
            .read_beginning(&object.s3_key, media_type::HEAD)
            .await?;
        let mut inspector = Inspector::begin(&head, MediaType::of(&head, &Hints::default()));
        inspector.update(&head);
        Ok(Stored {
            object,
            facts: inspector.facts(),
            kept: None,
        })
    }

    /// Returns the object that is stored for this output, whichever media type it had.
    async fn present(&self) -> Result<Option<(ObjectKey, ObjectHead)>, Failure> {
        let prefix = self.input.job_id.media_prefix(self.input.index);
        let page = self.storage.list(&prefix, None, KEYS_OF_AN_OUTPUT).await?;
        for object in page.objects {
            if let Some(head) = self.storage.head(&object.key).await?
                && is_of_prediction(self.input, &head)
            {
                return Ok(Some((object.key, head)));
            }
        }
        Ok(None)
    }
}
