//! Single objects: writing one in one request, reading, listing and deleting them.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    operation::{
        get_object::GetObjectOutput,
        head_object::HeadObjectOutput,
        put_object::{PutObjectOutput, builders::PutObjectFluentBuilder},
    },
    primitives::ByteStream,
    types::ChecksumMode,
};
use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use crate::{
    Feature, Storage,
    digest::{Crc32, Digest},
    error::{Result, StorageError},
    streaming_body::{self, ChunkSender, Payload},
};

/// Read timeout: longest time that the store may take to start its answer, or for the next bytes of
/// it.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Metadata key of an object's SHA-256 in hexadecimal, set if it was known before the object was
/// written.
const SHA256: &str = "sha256";

/// An object to write.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Key, without the configured prefix.
    pub key: String,
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
    pub fn empty(key: String, existing: Existing) -> Self {
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
    pub fn json(key: String) -> Self {
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
pub struct PutReceipt {
    /// `ETag` of what was written.
    pub e_tag: Option<String>,
    /// CRC-32 in base64, as the store computed it.
    pub checksum: Option<String>,
}

impl From<PutObjectOutput> for PutReceipt {
    fn from(output: PutObjectOutput) -> Self {
        Self {
            e_tag: output.e_tag,
            checksum: output.checksum_crc32,
        }
    }
}

/// Properties of an object, as the store returns them.
#[derive(Clone, Debug)]
pub struct ObjectHead {
    /// MIME type.
    pub content_type: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256, if it was known before the object was written.
    pub sha256: Option<String>,
    /// Checksum by the store: the CRC-32 in base64, or the composite one of its parts.
    pub checksum: Option<String>,
    pub(crate) e_tag: Option<String>,
    metadata: HashMap<String, String>,
}

/// Page of the objects below a prefix.
#[derive(Clone, Debug)]
pub struct ObjectPage {
    /// Objects in the order of their keys.
    pub objects: Vec<ListedObject>,
    /// True if there are more after them.
    pub has_more: bool,
}

/// An object in a listing.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Key, without the configured prefix.
    pub key: String,
    /// Time at which it was written, by the store's clock.
    pub modified: Option<SystemTime>,
}

impl ListedObject {
    /// True if it was written at least this long ago; false if the store does not say.
    #[must_use]
    pub fn is_older_than(&self, age: Duration) -> bool {
        let elapsed = self.modified.and_then(|modified| modified.elapsed().ok());
        elapsed.is_some_and(|elapsed| elapsed >= age)
    }
}

impl ObjectHead {
    /// Returns a metadata value that was stored with the object.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }
}

impl Storage {
    /// Writes an object whose bytes are in memory.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`] if the key is taken and its object is to be kept; otherwise
    /// if the store refuses or fails.
    pub async fn put(&self, object: &NewObject, bytes: Bytes) -> Result<PutReceipt> {
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
    ) -> Result<PutReceipt> {
        let condition = self.condition(&object.key, object.existing).await?;
        let put = self.send(object, bytes.clone(), digest, condition, checksum.clone());
        match put.await {
            Err(refused) if condition.is_some() && refused.is_unsupported_request() => {
                self.fail_if_exists(&object.key).await?;
                let receipt = self.send(object, bytes, digest, None, checksum).await?;
                self.lacks(Feature::ConditionalWrites);
                Ok(receipt)
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
    ) -> Result<PutReceipt> {
        let sha256 = digest.sha256();
        let request = self
            .put_request(&self.client, object, condition)
            .metadata(SHA256, &sha256)
            .set_checksum_crc32(checksum)
            .body(ByteStream::from(bytes))
            .customize()
            .interceptor(Payload::Hashed(sha256));
        let answer = request.send().await.map(PutReceipt::from);
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
    ) -> Result<(ChunkSender, impl Future<Output = Result<PutReceipt>>)> {
        let condition = self.condition(&object.key, object.existing).await?;
        let (frames, body) = streaming_body::streamed(length);
        let request = self
            .put_request(&self.streaming, object, condition)
            .body(body)
            .customize()
            .interceptor(Payload::Streamed(length));
        Ok((frames, async move {
            let answer = request.send().await.map(PutReceipt::from);
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
        key: &str,
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

    async fn fail_if_exists(&self, key: &str) -> Result<()> {
        match self.head(key).await? {
            Some(_) => Err(StorageError::AlreadyExists),
            None => Ok(()),
        }
    }

    /// Reads the properties of an object; `None` if there is no such object.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectHead>> {
        let head = match self.send_head(key).await {
            Err(refused) if self.disable_checksums_if_refused(&refused) => {
                self.send_head(key).await
            }
            asked => asked,
        };
        let head = match head {
            Ok(head) => head,
            Err(StorageError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = head.content_length();
        let metadata = head.metadata.unwrap_or_default();
        Ok(Some(ObjectHead {
            size: length
                .and_then(|length| u64::try_from(length).ok())
                .unwrap_or_default(),
            sha256: metadata.get(SHA256).cloned(),
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

    /// True if a refusal may be due to the checksum mode. Then the store is recorded as missing
    /// checksums.
    fn disable_checksums_if_refused(&self, error: &StorageError) -> bool {
        let is_it = self.adds_checksums() && error.is_unsupported_request();
        if is_it {
            self.lacks(Feature::Checksums);
        }
        is_it
    }

    /// Reads an object of at most `limit` bytes.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if there is no such object; otherwise if it is longer, or the
    /// store refuses or fails.
    pub async fn read(&self, key: &str, limit: usize) -> Result<Bytes> {
        self.collect(key, limit, None).await
    }

    /// Reads the first `bytes` bytes of an object, or all of a shorter one.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if there is no such object; otherwise if the store refuses or
    /// fails.
    pub async fn read_beginning(&self, key: &str, bytes: usize) -> Result<Bytes> {
        let range = format!("bytes=0-{}", bytes.saturating_sub(1));
        self.collect(key, bytes, Some(range)).await
    }

    async fn collect(&self, key: &str, limit: usize, range: Option<String>) -> Result<Bytes> {
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
    pub async fn digest(&self, key: &str) -> Result<Digest> {
        let mut digest = Digest::new();
        let update = |bytes: Bytes| {
            digest.update(&bytes);
            Ok(())
        };
        self.receive(&self.streaming, key, None, update).await?;
        Ok(digest)
    }

    async fn send_head(&self, key: &str) -> Result<HeadObjectOutput> {
        let request = self.client.head_object().bucket(&self.bucket);
        let request = request
            .key(self.full_key(key))
            .set_checksum_mode(self.checksum_mode());
        let answer = request.send().await;
        answer.map_err(|error| StorageError::of("HeadObject", &error))
    }

    /// Requests an object, or a range of it: a range has no checksum to verify.
    async fn send_get(
        &self,
        client: &aws_sdk_s3::Client,
        key: &str,
        range: Option<String>,
    ) -> Result<GetObjectOutput> {
        let checksum_mode = self.checksum_mode().filter(|_| range.is_none());
        let request = client.get_object().bucket(&self.bucket);
        let request = request
            .key(self.full_key(key))
            .set_range(range)
            .set_checksum_mode(checksum_mode);
        let answer = timeout(READ_TIMEOUT, request.send()).await;
        let answer = answer.map_err(|_| StorageError::TooSlow)?;
        answer.map_err(|error| StorageError::of("GetObject", &error))
    }

    async fn receive(
        &self,
        client: &aws_sdk_s3::Client,
        key: &str,
        range: Option<String>,
        mut take: impl FnMut(Bytes) -> Result<()>,
    ) -> Result<()> {
        let answer = match self.send_get(client, key, range.clone()).await {
            Err(refused) if self.disable_checksums_if_refused(&refused) => {
                self.send_get(client, key, range).await
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
                    tracing::warn!(key, %error, "the store's answer ended early");
                    let code = "it broke off".to_owned();
                    return Err(StorageError::Unavailable { code });
                }
            }
        }
    }

    /// Lists the objects whose keys begin with `prefix`, in order: at most `limit` (1,000 at most)
    /// of those after `after`.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: u16) -> Result<ObjectPage> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.full_key(prefix))
            .set_start_after(after.map(|after| self.full_key(after)))
            .max_keys(limit.into());
        let listed = request.send().await;
        let listed = listed.map_err(|error| StorageError::of("ListObjectsV2", &error))?;
        let objects = listed.contents().iter().filter_map(|object| {
            let modified = object.last_modified();
            Some(ListedObject {
                key: self.strip_key_prefix(object.key()?)?,
                modified: modified.and_then(|modified| SystemTime::try_from(*modified).ok()),
            })
        });
        Ok(ObjectPage {
            objects: objects.collect(),
            has_more: listed.is_truncated() == Some(true),
        })
    }

    /// Lists the folders below `prefix`: what is between `prefix` and the next slash of the keys
    /// that begin with it. They are in order, at most 1,000 of those after `after`. The flag is
    /// true if there are more.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn list_folders(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<(Vec<String>, bool)> {
        // Starts after all keys in the folder `after`: `0` is the character after the slash.
        let last = after.map(|after| format!("{}0", self.full_key(&format!("{prefix}{after}"))));
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.full_key(prefix))
            .set_start_after(last)
            .delimiter("/");
        let listed = request.send().await;
        let listed = listed.map_err(|error| StorageError::of("ListObjectsV2", &error))?;
        let folders = listed.common_prefixes().iter().filter_map(|common| {
            let key = self.strip_key_prefix(common.prefix()?)?;
            Some(key.strip_prefix(prefix)?.strip_suffix('/')?.to_owned())
        });
        Ok((folders.collect(), listed.is_truncated() == Some(true)))
    }

    /// Deletes an object. One that does not exist counts as deleted.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let request = self.client.delete_object().bucket(&self.bucket);
        match request.key(self.full_key(key)).send().await {
            Ok(_) => Ok(()),
            Err(error) => match StorageError::of("DeleteObject", &error) {
                StorageError::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }
}
