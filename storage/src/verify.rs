//! Verification that the store has what it was sent, complete and unchanged.

use bytes::Bytes;
use darkroom_types::{object_key::ObjectKey, sha256::Sha256};
use serde::{Deserialize, Serialize};

use crate::{
    NewObject, ObjectHead, Storage,
    digest::Digest,
    error::{Result, StorageError},
};

/// An object as it was sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UploadedObject {
    /// Key.
    pub s3_key: ObjectKey,
    /// MIME type.
    pub content_type: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: Sha256,
    /// Checksum in the form in which the store returns it, if known.
    pub checksum: Option<String>,
}

impl UploadedObject {
    /// Creates the record of an object whose bytes have all been hashed.
    #[must_use]
    pub fn new(object: &NewObject, digest: &Digest, checksum: Option<String>) -> Self {
        Self {
            s3_key: object.key.clone(),
            content_type: object.content_type.clone(),
            size: digest.size(),
            sha256: digest.sha256(),
            checksum,
        }
    }
}

impl ObjectHead {
    /// Returns true if nothing contradicts that this is the object which was sent.
    #[must_use]
    pub fn may_be(&self, sent: &UploadedObject) -> bool {
        let differ = |ours: &Option<String>, theirs: &Option<String>| {
            ours.is_some() && theirs.is_some() && ours != theirs
        };
        let has_other_sha256 = self
            .sha256
            .as_ref()
            .is_some_and(|sha256| *sha256 != sent.sha256);
        self.size == sent.size && !has_other_sha256 && !differ(&sent.checksum, &self.checksum)
    }

    /// Returns true if this is provably the object which was sent.
    #[must_use]
    pub fn is(&self, sent: &UploadedObject) -> bool {
        let proven = self.sha256.as_ref() == Some(&sent.sha256)
            || (sent.checksum.is_some() && self.checksum == sent.checksum);
        proven && self.may_be(sent)
    }
}

impl Storage {
    /// Writes an object in one request, and verifies it. If the key is taken by the same bytes,
    /// that counts as success.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if the key is taken by other content; otherwise if the store
    /// refuses or fails.
    pub async fn put_verified(
        &self,
        object: &NewObject,
        bytes: Bytes,
        digest: &Digest,
    ) -> Result<UploadedObject> {
        let checksum = self.checksum_of(&bytes);
        let sent = UploadedObject::new(object, digest, checksum.clone());
        match self.put_digested(object, bytes, digest, checksum).await {
            // The store verified every byte by the signature, and its checksum is of what it keeps:
            // `HeadObject` would add nothing.
            Ok(written) if written.checksum.is_some() && written.checksum == sent.checksum => {}
            Ok(written) => self.confirm(&sent, written.e_tag.as_deref()).await?,
            Err(StorageError::AlreadyExists) => self.compare(&sent).await?,
            Err(error) => return Err(error),
        }
        Ok(sent)
    }

    /// Verifies that the store has what it was sent. An object with the `ETag` of our write but
    /// other content is deleted, as it would block the key.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if the store does not have it; otherwise if it refuses or fails.
    pub async fn confirm(&self, sent: &UploadedObject, e_tag: Option<&str>) -> Result<()> {
        let Some(head) = self.head(&sent.s3_key).await? else {
            return Err(StorageError::Corrupt(
                "took the object and does not have it",
            ));
        };
        if head.may_be(sent) {
            return Ok(());
        }
        if e_tag.is_none() || head.e_tag.as_deref() != e_tag {
            return Err(StorageError::Corrupt("has an object that was not sent"));
        }
        tracing::error!(
            key = %sent.s3_key,
            "the store has other bytes than it was sent; deleting them"
        );
        self.delete(&sent.s3_key).await?;
        Err(StorageError::Corrupt(
            "had other bytes than it was sent; they were removed",
        ))
    }

    /// Compares the object under a key that is taken with the one that was to be sent: it may come
    /// of an attempt whose answer was lost.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if it is something else; otherwise if the store refuses or fails.
    pub async fn compare(&self, sent: &UploadedObject) -> Result<()> {
        let Some(head) = self.head(&sent.s3_key).await? else {
            return Err(StorageError::Unavailable {
                code: "the key was taken and is not any more".to_owned(),
            });
        };
        let same = match (&head.sha256, head.size == sent.size) {
            (_, false) => false,
            (Some(sha256), true) => *sha256 == sent.sha256,
            (None, true) => self.digest(&sent.s3_key).await?.sha256() == sent.sha256,
        };
        if same {
            return Ok(());
        }
        Err(StorageError::Conflict {
            key: self.full_key(&sent.s3_key),
        })
    }
}
