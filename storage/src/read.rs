//! Objects read: their properties, all or the beginning of their bytes, and their digest.

use std::{collections::HashMap, time::Duration};

use aws_sdk_s3::{
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    types::ChecksumMode,
};
use bytes::{Bytes, BytesMut};
use darkroom_types::{object_key::ObjectKey, sha256::Sha256};
use futures::FutureExt;
use tokio::time::timeout;

use crate::{
    Feature, Storage,
    digest::Digest,
    error::{Refusal, Result, StorageError},
    object::SHA256,
};

/// Read timeout: longest time that the store may take to start its answer, or for the next bytes of
/// it.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Properties of an object, as the store returns them.
#[derive(Clone, Debug)]
pub struct ObjectHead {
    /// MIME type.
    pub content_type: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256, if it was known before the object was written.
    pub sha256: Option<Sha256>,
    /// Checksum by the store: the CRC-32 in base64, or the composite one of its parts.
    pub checksum: Option<String>,
    pub(crate) e_tag: Option<String>,
    metadata: HashMap<String, String>,
}

impl ObjectHead {
    /// Returns a metadata value that was stored with the object.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }
}

impl Storage {
    /// Reads the properties of an object; `None` if there is no such object.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectHead>> {
        let head = match self.send_head(key, self.checksum_mode()).await {
            Err(refused) if self.may_refuse_checksums(&refused) => {
                let head = self.send_head(key, None).await;
                self.learn_of_checksums(&head);
                head
            }
            asked => asked,
        };
        let head = match head {
            Ok(head) => head,
            Err(StorageError::NotFound) => return Ok(None),
            // The answer has no body, and so no code: credentials may have expired.
            Err(StorageError::Refused {
                reason: Refusal::Request,
                code,
            }) if code == "status 400" => return Err(StorageError::Unavailable { code }),
            Err(error) => return Err(error),
        };
        let length = head.content_length();
        let metadata = head.metadata.unwrap_or_default();
        Ok(Some(ObjectHead {
            size: length
                .and_then(|length| u64::try_from(length).ok())
                .unwrap_or_default(),
            sha256: metadata.get(SHA256).and_then(|text| text.parse().ok()),
            metadata,
            e_tag: head.e_tag,
            checksum: head.checksum_crc32,
            content_type: head.content_type.unwrap_or_default(),
        }))
    }

    /// Returns the checksum mode of reads: if enabled, the store returns checksums, which the SDK
    /// verifies.
    fn checksum_mode(&self) -> Option<ChecksumMode> {
        self.adds_checksums().then_some(ChecksumMode::Enabled)
    }

    /// Returns true if a refusal may be due to the checksum mode.
    fn may_refuse_checksums(&self, error: &StorageError) -> bool {
        self.adds_checksums() && error.is_unsupported_request()
    }

    /// Records that the store is missing checksums if it answers without the mode what it refused
    /// with it.
    fn learn_of_checksums<T>(&self, without: &Result<T>) {
        if matches!(without, Ok(_) | Err(StorageError::NotFound)) {
            self.lacks(Feature::Checksums);
        }
    }

    /// Reads an object of at most `limit` bytes; `None` if there is no such object.
    ///
    /// # Errors
    /// If it is longer, or the store refuses or fails.
    pub async fn read(&self, key: &ObjectKey, limit: usize) -> Result<Option<Bytes>> {
        match self.collect(key, limit, None).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the first `bytes` bytes of an object, or all of a shorter one.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if there is no such object; otherwise if the store refuses or
    /// fails.
    pub async fn read_beginning(&self, key: &ObjectKey, bytes: usize) -> Result<Bytes> {
        let range = format!("bytes=0-{}", bytes.saturating_sub(1));
        self.collect(key, bytes, Some(range)).await
    }

    async fn collect(&self, key: &ObjectKey, limit: usize, range: Option<String>) -> Result<Bytes> {
        let mut read = BytesMut::new();
        let take = |bytes: Bytes| {
            read.extend_from_slice(&bytes);
            if read.len() > limit {
                return Err(StorageError::Corrupt("has an object that is too long"));
            }
            Ok(())
        };
        self.receive(&self.client, key, range, take).await?;
        Ok(read.freeze())
    }

    /// Reads an object and hashes it.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if there is no such object; otherwise if the store refuses or
    /// fails.
    pub async fn digest(&self, key: &ObjectKey) -> Result<Digest> {
        let mut digest = Digest::new();
        let update = |bytes: Bytes| {
            digest.update(&bytes);
            Ok(())
        };
        self.receive(&self.streaming, key, None, update).await?;
        Ok(digest)
    }

    async fn send_head(
        &self,
        key: &ObjectKey,
        checksum_mode: Option<ChecksumMode>,
    ) -> Result<HeadObjectOutput> {
        let request = self.client.head_object().bucket(&self.bucket);
        let request = request
            .key(self.full_key(key))
            .set_checksum_mode(checksum_mode);
        let answer = request.send().boxed().await;
        answer.map_err(|error| StorageError::of("HeadObject", &error))
    }

    /// Requests an object, or a range of it.
    async fn send_get(
        &self,
        client: &aws_sdk_s3::Client,
        key: &ObjectKey,
        range: Option<String>,
        checksum_mode: Option<ChecksumMode>,
    ) -> Result<GetObjectOutput> {
        let request = client.get_object().bucket(&self.bucket);
        let request = request
            .key(self.full_key(key))
            .set_range(range)
            .set_checksum_mode(checksum_mode);
        let answer = timeout(READ_TIMEOUT, request.send().boxed()).await;
        let answer = answer.map_err(|_| StorageError::TooSlow)?;
        answer.map_err(|error| StorageError::of("GetObject", &error))
    }

    async fn receive(
        &self,
        client: &aws_sdk_s3::Client,
        key: &ObjectKey,
        range: Option<String>,
        mut take: impl FnMut(Bytes) -> Result<()>,
    ) -> Result<()> {
        // A range has no checksum to verify.
        let checksum_mode = self.checksum_mode().filter(|_| range.is_none());
        let is_verified = checksum_mode.is_some();
        let answer = match self
            .send_get(client, key, range.clone(), checksum_mode)
            .await
        {
            Err(refused) if is_verified && self.may_refuse_checksums(&refused) => {
                let answer = self.send_get(client, key, range, None).await;
                self.learn_of_checksums(&answer);
                answer
            }
            asked => asked,
        };
        let mut body = answer?.body;
        loop {
            let piece = timeout(READ_TIMEOUT, body.try_next()).await;
            match piece.map_err(|_| StorageError::TooSlow)? {
                Ok(Some(bytes)) => take(bytes)?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%key, %error, "the store's answer ended early");
                    let code = "it broke off".to_owned();
                    return Err(StorageError::Unavailable { code });
                }
            }
        }
    }
}
