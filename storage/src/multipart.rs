//! Multipart uploads. An upload can be resumed with its id and its parts; one that is given up is
//! aborted. Those in progress are listed by [`crate::list`].
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use std::time::Duration;

use aws_sdk_s3::{
    config::timeout::TimeoutConfig,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use darkroom_types::object_key::ObjectKey;
use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::{
    Existing, Feature, NewObject, ObjectHead, Storage, UploadedObject, digest,
    error::{Result, StorageError},
    streaming_body::{self, ChunkSender, Payload},
};

/// Largest number of parts of an upload.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_PARTS: u64 = 10_000;

/// Timeout of the request that completes an upload, in which the store assembles the parts.
const COMPLETE_TIMEOUT: Duration = Duration::from_mins(5);

/// A multipart upload in progress.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Key.
    pub key: ObjectKey,
    /// Upload id of the store.
    pub id: String,
}

/// A part that the store has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UploadedPart {
    /// `ETag` of the part.
    pub e_tag: Option<String>,
    /// CRC-32 in base64.
    pub crc32: Option<String>,
}

impl Storage {
    /// Begins a multipart upload.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn begin_upload(&self, object: &NewObject) -> Result<Upload> {
        let checksums = self.adds_checksums().then_some(ChecksumAlgorithm::Crc32);
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(self.full_key(&object.key))
            .content_type(&object.content_type)
            .set_content_disposition(object.content_disposition.clone())
            .set_metadata(Some(object.metadata()))
            .set_server_side_encryption(self.sse_method())
            .set_ssekms_key_id(self.sse_key_id())
            .set_checksum_algorithm(checksums)
            .send()
            .boxed()
            .await
            .map_err(|error| StorageError::of("CreateMultipartUpload", &error))?;
        let id = created
            .upload_id
            .ok_or(StorageError::Corrupt("began an upload without an id"))?;
        Ok(Upload {
            key: object.key.clone(),
            id,
        })
    }

    /// Uploads a part whose bytes are in memory. Parts count from 1.
    ///
    /// # Errors
    /// [`StorageError::TooManyParts`] if the number is above [`MAX_PARTS`]; otherwise if the store
    /// refuses or fails.
    pub async fn upload_part(
        &self,
        upload: &Upload,
        number: usize,
        bytes: Bytes,
    ) -> Result<UploadedPart> {
        let crc32 = self.checksum_of(&bytes);
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id)
            .part_number(part_number(number)?)
            .set_checksum_crc32(crc32.clone())
            .body(ByteStream::from(bytes))
            .customize();
        // Without a checksum, the signature protects the bytes.
        let request = if crc32.is_some() {
            request.interceptor(Payload::Unsigned)
        } else {
            request
        };
        let sent = request.send().boxed().await;
        let sent = sent.map_err(|error| StorageError::of("UploadPart", &error))?;
        Ok(UploadedPart {
            e_tag: sent.e_tag,
            crc32,
        })
    }

    /// Starts a streaming upload of a part: the bytes are sent through the returned [`ChunkSender`]
    /// while the returned future is polled. The part's checksum is that of the frames.
    ///
    /// # Errors
    /// As [`Storage::upload_part`].
    pub fn upload_part_streaming(
        &self,
        upload: &Upload,
        number: usize,
        length: u64,
    ) -> Result<(ChunkSender, impl Future<Output = Result<UploadedPart>>)> {
        let (frames, body) = streaming_body::streamed(length);
        let request = self
            .streaming
            .upload_part()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id)
            .part_number(part_number(number)?)
            .body(body)
            .customize()
            .interceptor(Payload::Streamed(length));
        Ok((frames, async move {
            let sent = request.send().boxed().await;
            let sent = sent.map_err(|error| StorageError::of("UploadPart", &error))?;
            Ok(UploadedPart {
                e_tag: sent.e_tag,
                crc32: None,
            })
        }))
    }

    /// Completes an upload, and verifies the object. If the answer is lost or unclear, the object
    /// is looked up.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if the key is taken by other content; otherwise if the store
    /// refuses or fails.
    pub async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        sent: &UploadedObject,
        existing: Existing,
    ) -> Result<()> {
        let condition = match self.condition(&upload.key, existing).await {
            Err(StorageError::AlreadyExists) => return self.settle_taken(upload, sent).await,
            condition => condition?,
        };
        let error = match self.send_complete(upload, parts, condition).await {
            Ok(e_tag) => return self.confirm(sent, e_tag.as_deref()).await,
            Err(StorageError::AlreadyExists) => return self.settle_taken(upload, sent).await,
            Err(error) => error,
        };
        let is_sent = |present: &ObjectHead| match existing {
            Existing::Replace => present.is(sent),
            Existing::Keep => present.may_be(sent),
        };
        let present = self.head(&upload.key).await?;
        if present.as_ref().is_some_and(is_sent) {
            return Ok(());
        }
        // The store may not support the condition.
        if present.is_none()
            && condition.is_some()
            && error.is_unsupported_request()
            && let Ok(e_tag) = self.send_complete(upload, parts, None).await
        {
            self.lacks(Feature::ConditionalWrites);
            return self.confirm(sent, e_tag.as_deref()).await;
        }
        // The next attempt finds the upload gone, and starts over.
        if matches!(error, StorageError::NotFound) || error.is_unsupported_request() {
            self.abort_upload(upload).await;
        }
        Err(error)
    }

    async fn settle_taken(&self, upload: &Upload, sent: &UploadedObject) -> Result<()> {
        self.compare(sent).await?;
        self.abort_upload(upload).await;
        Ok(())
    }

    async fn send_complete(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Option<&str>,
    ) -> Result<Option<String>> {
        let numbered = parts.iter().zip(1..).map(|(part, number)| {
            let UploadedPart { e_tag, crc32 } = part.clone();
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(e_tag)
                .set_checksum_crc32(crc32)
                .build()
        });
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(numbered.collect()))
            .build();
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(COMPLETE_TIMEOUT)
            .build();
        let completed = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id)
            .multipart_upload(parts)
            .set_if_none_match(condition.map(str::to_owned))
            .customize()
            .config_override(aws_sdk_s3::Config::builder().timeout_config(timeouts))
            .send()
            .boxed()
            .await;
        match completed {
            Ok(completed) => Ok(completed.e_tag),
            Err(error) => Err(StorageError::of("CompleteMultipartUpload", &error)),
        }
    }

    /// Returns true if the store still has the upload, and parts of it.
    ///
    /// # Errors
    /// If the store refuses or fails.
    pub async fn has_parts(&self, upload: &Upload) -> Result<bool> {
        let request = self
            .client
            .list_parts()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id)
            .max_parts(1);
        match request.send().boxed().await {
            Ok(listed) => Ok(!listed.parts().is_empty()),
            Err(error) => match StorageError::of("ListParts", &error) {
                StorageError::NotFound => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Aborts an upload, and returns true if it is gone. If that fails, the sweep aborts it later.
    pub async fn abort_upload(&self, upload: &Upload) -> bool {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id);
        match request.send().boxed().await {
            Ok(_) => true,
            Err(error) => {
                StorageError::of("AbortMultipartUpload", &error) == StorageError::NotFound
            }
        }
    }
}

/// Returns the composite checksum that the store will return for the whole object; `None` if that
/// of a part is unknown.
#[must_use]
pub fn checksum(parts: &[UploadedPart]) -> Option<String> {
    let known: Option<Vec<_>> = parts.iter().map(|part| part.crc32.as_deref()).collect();
    digest::composite(known?.into_iter())
}

fn part_number(number: usize) -> Result<i32> {
    let is_allowed = number as u64 <= MAX_PARTS;
    let number = i32::try_from(number).ok().filter(|_| is_allowed);
    number.ok_or(StorageError::TooManyParts(MAX_PARTS))
}
