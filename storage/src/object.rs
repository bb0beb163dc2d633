//! Objects written in one request, and deleted. Multipart uploads are in [`crate::multipart`],
//! reads in [`crate::read`].

use std::collections::HashMap;

use aws_sdk_s3::{
    operation::put_object::{PutObjectOutput, builders::PutObjectFluentBuilder},
    primitives::ByteStream,
};
use bytes::Bytes;
use darkroom_types::object_key::ObjectKey;
use futures::FutureExt;

use crate::{
    Feature, Storage,
    digest::{Crc32, Digest},
    error::{Result, StorageError},
    streaming_body::{self, ChunkSender, Payload},
};

/// Metadata key of an object's SHA-256 in hexadecimal, set if it was known before the object was
/// written.
pub(crate) const SHA256: &str = "sha256";

/// An object to write.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Key.
    pub key: ObjectKey,
    /// MIME type.
    pub content_type: String,
    /// `Content-Disposition`, if not the default of its type.
    pub content_disposition: Option<String>,
    /// Further metadata, stored with the object.
    pub metadata: Vec<(&'static str, String)>,
    /// Treatment of an existing object with the same key.
    pub existing: Existing,
}

impl NewObject {
    /// Creates an object without metadata, of type `application/octet-stream`.
    #[must_use]
    pub fn empty(key: ObjectKey, existing: Existing) -> Self {
        Self {
            key,
            content_type: "application/octet-stream".to_owned(),
            content_disposition: None,
            metadata: Vec::new(),
            existing,
        }
    }

    /// Creates a JSON object that replaces an existing one with the same key.
    #[must_use]
    pub fn json(key: ObjectKey) -> Self {
        Self {
            content_type: "application/json".to_owned(),
            ..Self::empty(key, Existing::Replace)
        }
    }

    /// Returns the metadata in the form that the SDK takes.
    pub(crate) fn metadata(&self) -> HashMap<String, String> {
        let named = self.metadata.iter();
        named
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }
}

/// Treatment of an existing object with the same key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Existing {
    /// Keep it: the write fails (conditional write).
    Keep,
    /// Replace it.
    Replace,
}

/// Answer of the store to a write.
#[derive(Clone, Debug)]
pub struct PutResult {
    /// `ETag` of what was written.
    pub e_tag: Option<String>,
    /// CRC-32 in base64, as the store computed it.
    pub checksum: Option<String>,
}

impl From<PutObjectOutput> for PutResult {
    fn from(output: PutObjectOutput) -> Self {
        Self {
            e_tag: output.e_tag,
            checksum: output.checksum_crc32,
        }
    }
}

impl Storage {
    /// Writes an object whose bytes are in memory.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`] if the key is taken and its object is to be kept; otherwise
    /// if the store refuses or fails.
    pub async fn put(&self, object: &NewObject, bytes: Bytes) -> Result<PutResult> {
        let (digest, checksum) = (Digest::of(&bytes), self.checksum_of(&bytes));
        self.put_digested(object, bytes, &digest, checksum).await
    }

    /// Writes an object whose digest and checksum are known.
    pub(crate) async fn put_digested(
        &self,
        object: &NewObject,
        bytes: Bytes,
        digest: &Digest,
        checksum: Option<String>,
    ) -> Result<PutResult> {
        let condition = self.condition(&object.key, object.existing).await?;
        let put = self.send(object, bytes.clone(), digest, condition, checksum.clone());
        match put.await {
            Err(refused) if condition.is_some() && refused.is_unsupported_request() => {
                self.fail_if_exists(&object.key).await?;
                let written = self.send(object, bytes, digest, None, checksum).await?;
                self.lacks(Feature::ConditionalWrites);
                Ok(written)
            }
            sent => sent,
        }
    }

    /// Returns the checksum to send with bytes in memory, if the store supports checksums.
    pub(crate) fn checksum_of(&self, bytes: &[u8]) -> Option<String> {
        self.adds_checksums().then(|| Crc32::of(bytes))
    }

    /// Writes an object with this condition and this checksum, without any fallback.
    pub(crate) async fn send(
        &self,
        object: &NewObject,
        bytes: Bytes,
        digest: &Digest,
        condition: Option<&str>,
        checksum: Option<String>,
    ) -> Result<PutResult> {
        let sha256 = digest.sha256();
        let request = self
            .put_request(&self.client, object, condition)
            .metadata(SHA256, sha256.to_string())
            .set_checksum_crc32(checksum)
            .body(ByteStream::from(bytes))
            .customize()
            .interceptor(Payload::Hashed(sha256));
        let answer = request.send().boxed().await.map(PutResult::from);
        answer.map_err(|error| StorageError::of("PutObject", &error))
    }

    /// Starts a streaming write: the bytes are sent through the returned [`ChunkSender`] while the
    /// returned future is polled.
    ///
    /// # Errors
    /// As [`Storage::put`]. If the store refuses the form of the request, [`Storage::put`] may
    /// succeed.
    pub async fn put_streaming(
        &self,
        object: &NewObject,
        length: u64,
    ) -> Result<(ChunkSender, impl Future<Output = Result<PutResult>>)> {
        let condition = self.condition(&object.key, object.existing).await?;
        let (frames, body) = streaming_body::streamed(length);
        let request = self
            .put_request(&self.streaming, object, condition)
            .body(body)
            .customize()
            .interceptor(Payload::Streamed(length));
        Ok((frames, async move {
            let answer = request.send().boxed().await.map(PutResult::from);
            answer.map_err(|error| StorageError::of("PutObject", &error))
        }))
    }

    fn put_request(
        &self,
        client: &aws_sdk_s3::Client,
        object: &NewObject,
        condition: Option<&str>,
    ) -> PutObjectFluentBuilder {
        client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(&object.key))
            .content_type(&object.content_type)
            .set_content_disposition(object.content_disposition.clone())
            .set_metadata(Some(object.metadata()))
            .set_server_side_encryption(self.sse_method())
            .set_ssekms_key_id(self.sse_key_id())
            .set_if_none_match(condition.map(str::to_owned))
    }

    /// Returns the condition (`If-None-Match`) under which a key is written. If the store is
    /// missing conditional writes, the key is looked up first.
    pub(crate) async fn condition(
        &self,
        key: &ObjectKey,
        existing: Existing,
    ) -> Result<Option<&'static str>> {
        if existing == Existing::Replace {
            return Ok(None);
        }
        if self.has(Feature::ConditionalWrites) {
            return Ok(Some("*"));
        }
        self.fail_if_exists(key).await.map(|()| None)
    }

    async fn fail_if_exists(&self, key: &ObjectKey) -> Result<()> {
        match self.head(key).await? {
            Some(_) => Err(StorageError::AlreadyExists),
            None => Ok(()),
        }
    }

    /// Deletes an object. One that does not exist counts as deleted.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let request = self.client.delete_object().bucket(&self.bucket);
        match request.key(self.full_key(key)).send().boxed().await {
            Ok(_) => Ok(()),
            Err(error) => match StorageError::of("DeleteObject", &error) {
                StorageError::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }
}
