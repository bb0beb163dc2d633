//! One object: writing it in one request, reading it, listing and removing it.

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
    streaming_body::{self, Frames, Payload},
};

/// How long the store may take to hand over a piece.
const SILENCE: Duration = Duration::from_mins(1);

/// The metadata in which an object's SHA-256 stands, in hexadecimal, if it was known before the object was written.
const SHA256: &str = "sha256";

/// An object to write.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Its key, without the prefix that all of the bucket's keys have.
    pub key: String,
    /// Its MIME type.
    pub content_type: String,
    /// How a browser presents it, if not as its type has it.
    pub content_disposition: Option<String>,
    /// What else is to be known of it.
    pub metadata: Vec<(&'static str, String)>,
    /// What becomes of an object that has the key already.
    pub existing: Existing,
}

impl NewObject {
    /// An object of no type in particular, and without metadata.
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

    /// An object of JSON, in the place of one that has the key already.
    #[must_use]
    pub fn json(key: String) -> Self {
        Self {
            content_type: "application/json".to_owned(),
            ..Self::empty(key, Existing::Replace)
        }
    }

    /// What is to be known of it beside its bytes, as the SDK takes it.
    pub(crate) fn metadata(&self) -> HashMap<String, String> {
        let named = self.metadata.iter();
        named
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }
}

/// What becomes of an object that has the key already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Existing {
    /// It stays, and the write fails.
    Keep,
    /// It is replaced.
    Replace,
}

/// What the store says of what it took.
#[derive(Clone, Debug)]
pub struct PutReceipt {
    /// The tag of what was written.
    pub e_tag: Option<String>,
    /// Its CRC-32 in base64, as the store computed it.
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

/// An object as the store shows it.
#[derive(Clone, Debug)]
pub struct ObjectHead {
    /// Its MIME type.
    pub content_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, if it was known before the object was written.
    pub sha256: Option<String>,
    /// The store's own checksum of it: a CRC-32 in base64, or one of its parts'.
    pub checksum: Option<String>,
    pub(crate) e_tag: Option<String>,
    metadata: HashMap<String, String>,
}

/// Some of the objects below a prefix.
#[derive(Clone, Debug)]
pub struct ObjectPage {
    /// The objects, in the order of their keys.
    pub objects: Vec<ListedObject>,
    /// Whether there are more after them.
    pub has_more: bool,
}

/// An object in a list.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// When it was written, by the store's clock.
    pub modified: Option<SystemTime>,
}

impl ListedObject {
    /// Whether it was written so long ago, as far as the store tells.
    #[must_use]
    pub fn is_older_than(&self, age: Duration) -> bool {
        let elapsed = self.modified.and_then(|modified| modified.elapsed().ok());
        elapsed.is_some_and(|elapsed| elapsed >= age)
    }
}

impl ObjectHead {
    /// What was written beside it.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }
}

impl Storage {
    /// Writes an object of which all bytes are at hand.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`] if something is to be kept that has the key; else if the store refuses or fails.
    pub async fn put(&self, object: &NewObject, bytes: Bytes) -> Result<PutReceipt> {
        let (digest, checksum) = (Digest::of(&bytes), self.checksum_of(&bytes));
        self.put_digested(object, bytes, &digest, checksum).await
    }

    /// The same for bytes whose digest and checksum are known.
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
            Err(refused) if condition.is_some() && refused.is_of_the_form() => {
                self.look_before_write(&object.key).await?;
                let receipt = self.send(object, bytes, digest, None, checksum).await?;
                self.lacks(Feature::ConditionalWrites);
                Ok(receipt)
            }
            sent => sent,
        }
    }

    /// The checksum that goes with bytes at hand, as far as the store takes any.
    pub(crate) fn checksum_of(&self, bytes: &[u8]) -> Option<String> {
        self.adds_checksums().then(|| Crc32::of(bytes))
    }

    /// Writes an object under this condition and with this checksum, whatever comes of it.
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

    /// Begins to write an object while its bytes arrive. The future is to be polled while they are sent.
    ///
    /// # Errors
    /// As [`Storage::put`]. What the store refuses for its form may be taken by [`Storage::put`].
    pub async fn put_streaming(
        &self,
        object: &NewObject,
        length: u64,
    ) -> Result<(Frames, impl Future<Output = Result<PutReceipt>>)> {
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

    /// The condition under which a key is written. Where the store knows none, it is looked up first.
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
        self.look_before_write(key).await.map(|()| None)
    }

    async fn look_before_write(&self, key: &str) -> Result<()> {
        match self.head(key).await? {
            Some(_) => Err(StorageError::AlreadyExists),
            None => Ok(()),
        }
    }

    /// Looks an object up.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectHead>> {
        let head = match self.ask_head(key).await {
            Err(refused) if self.is_of_checksums(&refused) => self.ask_head(key).await,
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

    /// Whether the store is asked for its checksums, which the SDK compares.
    fn checksum_mode(&self) -> Option<ChecksumMode> {
        self.adds_checksums().then_some(ChecksumMode::Enabled)
    }

    /// Whether a refusal may be of being asked for checksums: then the store is not asked for them again.
    fn is_of_checksums(&self, error: &StorageError) -> bool {
        let is_it = self.adds_checksums() && error.is_of_the_form();
        if is_it {
            self.lacks(Feature::Checksums);
        }
        is_it
    }

    /// Reads an object of at most `limit` bytes.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if there is none; else if it is longer, or the store refuses or fails.
    pub async fn read(&self, key: &str, limit: usize) -> Result<Bytes> {
        self.collect(key, limit, None).await
    }

    /// Reads the first bytes of an object: so many, fewer only if there are no more.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if there is none; else if the store refuses or fails.
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
    /// [`StorageError::NotFound`] if there is none; else if the store refuses or fails.
    pub async fn digest(&self, key: &str) -> Result<Digest> {
        let mut digest = Digest::new();
        let update = |bytes: Bytes| {
            digest.update(&bytes);
            Ok(())
        };
        self.receive(&self.streaming, key, None, update).await?;
        Ok(digest)
    }

    async fn ask_head(&self, key: &str) -> Result<HeadObjectOutput> {
        let request = self.client.head_object().bucket(&self.bucket);
        let request = request
            .key(self.full_key(key))
            .set_checksum_mode(self.checksum_mode());
        let answer = request.send().await;
        answer.map_err(|error| StorageError::of("HeadObject", &error))
    }

    /// Asks for an object, or a part of it: that has no checksum to compare.
    async fn ask_get(
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
        let answer = timeout(SILENCE, request.send()).await;
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
        let answer = match self.ask_get(client, key, range.clone()).await {
            Err(refused) if self.is_of_checksums(&refused) => {
                self.ask_get(client, key, range).await
            }
            asked => asked,
        };
        let mut body = answer?.body;
        loop {
            let piece = timeout(SILENCE, body.try_next()).await;
            match piece.map_err(|_| StorageError::TooSlow)? {
                Ok(Some(bytes)) => take(bytes)?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::warn!(key, %error, "the store broke off");
                    let code = "it broke off".to_owned();
                    return Err(StorageError::Unavailable { code });
                }
            }
        }
    }

    /// The objects whose keys begin with `prefix`, in order, at most `limit` (1,000 at most) of those after `after`.
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
                key: self.own_key(object.key()?)?,
                modified: modified.and_then(|modified| SystemTime::try_from(*modified).ok()),
            })
        });
        Ok(ObjectPage {
            objects: objects.collect(),
            has_more: listed.is_truncated() == Some(true),
        })
    }

    /// What stands between `prefix` and the next slash in the keys that begin with it, in order, at most 1,000 of those after
    /// `after`; whether there are more.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn list_folders(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<(Vec<String>, bool)> {
        // What comes after all that begins with the folder and a slash: zero is the next character.
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
            let key = self.own_key(common.prefix()?)?;
            Some(key.strip_prefix(prefix)?.strip_suffix('/')?.to_owned())
        });
        Ok((folders.collect(), listed.is_truncated() == Some(true)))
    }

    /// Removes an object. One that is not there is as good.
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
