//! Checkpoint at which the next sweep resumes: an object in the bucket, so that the progress of a
//! sweep that is interrupted is kept.

use darkroom_storage::{NewObject, Storage};
use darkroom_workflows::job::ObjectKey;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Size limit of the object, in bytes: a key has 1,024 bytes at most.
const LIMIT: usize = 8 * 1024;

/// Position in the order of keys.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Checkpoint {
    /// Last key that was swept; `None` if the next sweep starts at the beginning.
    pub(super) after: Option<ObjectKey>,
}

impl Checkpoint {
    /// Reads the checkpoint. An object that cannot be parsed counts as the beginning.
    pub(super) async fn read(storage: &Storage) -> Result<Self, Failure> {
        let bytes = storage.read(&key(), LIMIT).await?;
        let checkpoint = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(checkpoint.unwrap_or_default())
    }

    pub(super) async fn write(&self, storage: &Storage) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let object = NewObject::json(key());
        storage.put(&object, bytes.into()).await?;
        Ok(())
    }

    /// Returns true if all keys with this prefix have been swept.
    pub(super) fn is_after(&self, prefix: &str) -> bool {
        let after = self
            .after
            .as_ref()
            .map(ObjectKey::as_str)
            .unwrap_or_default();
        after > prefix && !after.starts_with(prefix)
    }

    /// Returns the last key with this prefix that was swept.
    pub(super) fn within(&self, prefix: &str) -> Option<ObjectKey> {
        let after = self.after.clone();
        after.filter(|after| after.as_str().starts_with(prefix))
    }
}

fn key() -> ObjectKey {
    ObjectKey::new("sweep.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_resumes_where_the_last_one_stopped() {
        let checkpoint = |after: &str| Checkpoint {
            after: Some(ObjectKey::new(after)),
        };
        let begin = Checkpoint::default();
        assert!(!begin.is_after("index/") && begin.within("index/").is_none());
        let key = "index/-/2026-11-24/x";
        assert!(!checkpoint(key).is_after("index/"));
        assert_eq!(checkpoint(key).within("index/"), checkpoint(key).after);
        assert!(
            !checkpoint(key).is_after("tombstones/")
                && checkpoint(key).within("tombstones/").is_none()
        );
        assert!(checkpoint("tombstones/x").is_after("index/"));
    }
}
