//! An object in parts. An attempt that comes again goes on where the one before stopped; what nobody can go on with is
//! aborted.

use std::time::Duration;

use aws_sdk_s3::{
    config::timeout::TimeoutConfig,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use darkroom_storage::{
    Storage,
    bucket::Checksums,
    digest::{self, Crc32},
    streaming_body::{self, Frames, Payload},
};
use darkroom_workflows::failure::FailureType;

use super::{
    checkpoint::{PartCheckpoint, Sent},
    store::{self, Object, storage_failure},
};
use crate::failure::Failure;

/// Refusals that another try may not meet: of permission, of time, of a conflict, of too many. Any other will stay.
const PASSING: [u16; 4] = [403, 408, 409, 429];

/// How long a store may take to make parts one object.
const PATIENCE: Duration = Duration::from_mins(5);

/// An upload that has begun.
pub(super) struct Multipart<'a> {
    object: &'a Object<'a>,
    pub(super) id: String,
}

impl<'a> Multipart<'a> {
    /// Begins an upload.
    pub(super) async fn begin(object: &'a Object<'a>) -> Result<Self, Failure> {
        let storage = object.storage;
        let encryption = storage.encryption.as_ref();
        let with_checksums = storage.checksums == Checksums::WhenSupported;
        let created = storage
            .client
            .create_multipart_upload()
            .bucket(&storage.bucket)
            .key(object.key())
            .content_type(&object.content_type)
            .metadata(store::PREDICTION, &object.prediction_id)
            .set_content_disposition(object.disposition())
            .set_server_side_encryption(encryption.map(|encryption| encryption.method.clone()))
            .set_ssekms_key_id(encryption.and_then(|encryption| encryption.key_id.clone()))
            .set_checksum_algorithm(with_checksums.then_some(ChecksumAlgorithm::Crc32))
            .send()
            .await
            .map_err(|error| storage_failure(&error.into()))?;
        match created.upload_id {
            Some(id) => Ok(Self { object, id }),
            None => Err(Failure::new(
                FailureType::StorageUnavailable,
                "the store began an upload without an id",
            )),
        }
    }

    /// Goes on with one.
    pub(super) fn resume(object: &'a Object<'a>, id: String) -> Self {
        Self { object, id }
    }

    /// Sends a part that is at hand. Parts count from 1.
    pub(super) async fn send(
        &self,
        number: usize,
        bytes: Bytes,
    ) -> Result<PartCheckpoint, Failure> {
        let storage = self.object.storage;
        let with_checksums = storage.checksums == Checksums::WhenSupported;
        let crc32 = with_checksums.then(|| Crc32::of(&bytes));
        let request = storage
            .client
            .upload_part()
            .bucket(&storage.bucket)
            .key(self.object.key())
            .upload_id(&self.id)
            .part_number(part_number(number)?)
            .set_checksum_crc32(crc32.clone())
            .body(ByteStream::from(bytes))
            .customize();
        // Without a checksum, the signature vouches for the bytes.
        let request = if with_checksums {
            request.interceptor(Payload::Unsigned)
        } else {
            request
        };
        let sent = request
            .send()
            .await
            .map_err(|error| storage_failure(&error.into()))?;
        Ok(PartCheckpoint {
            e_tag: sent.e_tag,
            crc32,
        })
    }

    /// Begins to send a part while its bytes arrive. To be polled while they are sent.
    pub(super) fn stream(
        &self,
        number: usize,
        length: u64,
    ) -> Result<
        (
            Frames,
            impl Future<Output = Result<PartCheckpoint, Failure>>,
        ),
        Failure,
    > {
        let storage = self.object.storage;
        let (frames, body) = streaming_body::streamed(length);
        let request = storage
            .streaming
            .upload_part()
            .bucket(&storage.bucket)
            .key(self.object.key())
            .upload_id(&self.id)
            .part_number(part_number(number)?)
            .body(body)
            .customize()
            .interceptor(Payload::Streamed(length));
        Ok((frames, async move {
            let sent = request
                .send()
                .await
                .map_err(|error| storage_failure(&error.into()))?;
            Ok(PartCheckpoint {
                e_tag: sent.e_tag,
                crc32: None,
            })
        }))
    }

    /// Makes the parts one object. An answer that is lost or unclear is settled by looking at the object.
    pub(super) async fn complete(
        &self,
        parts: &[PartCheckpoint],
        sent: &Sent,
    ) -> Result<(), Failure> {
        let Object {
            storage, s3_key, ..
        } = self.object;
        let numbered = parts.iter().zip(1..).map(|(part, number)| {
            let PartCheckpoint { e_tag, crc32 } = part.clone();
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(e_tag)
                .set_checksum_crc32(crc32)
                .build()
        });
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(numbered.collect()))
            .build();
        let request = storage
            .client
            .complete_multipart_upload()
            .bucket(&storage.bucket)
            .key(self.object.key());
        let request = request.upload_id(&self.id).multipart_upload(parts);
        let request = request
            .set_if_none_match(self.object.if_none_match())
            .customize();
        let patient = TimeoutConfig::builder()
            .operation_attempt_timeout(PATIENCE)
            .build();
        let completed = request
            .config_override(aws_sdk_s3::Config::builder().timeout_config(patient))
            .send()
            .await;
        match completed {
            Ok(completed) => self.object.confirm(sent, completed.e_tag).await,
            Err(error) if store::is_taken(&error) => {
                self.object.compare(sent).await?;
                self.abort().await;
                Ok(())
            }
            Err(error) => {
                let status = error
                    .raw_response()
                    .map(|response| response.status().as_u16());
                let is_beyond_help = status
                    .is_some_and(|status| matches!(status, 400..500) && !PASSING.contains(&status));
                let failure = storage_failure(&error.into());
                let present = store::head(storage, s3_key).await?;
                let is_ours = |present: &store::Present| {
                    if self.object.replace {
                        present.is(sent)
                    } else {
                        present.may_be(sent)
                    }
                };
                if present.as_ref().is_some_and(is_ours) {
                    return Ok(());
                }
                // The next attempt finds it gone, and begins anew.
                if is_beyond_help {
                    self.abort().await;
                }
                Err(failure)
            }
        }
    }

    /// Drops what was sent. Should that fail as well, the sweep does it later.
    pub(super) async fn abort(&self) {
        abort(self.object.storage, &self.object.key(), &self.id).await;
    }
}

/// What the store will say of the whole.
pub(super) fn checksum(parts: &[PartCheckpoint]) -> Option<String> {
    let known: Option<Vec<_>> = parts.iter().map(|part| part.crc32.as_deref()).collect();
    digest::composite(known?.into_iter())
}

/// Whether the store still has an upload, and parts of it.
pub(super) async fn is_open(
    storage: &Storage,
    key: &str,
    upload_id: &str,
) -> Result<bool, Failure> {
    let request = storage
        .client
        .list_parts()
        .bucket(&storage.bucket)
        .key(key)
        .upload_id(upload_id)
        .max_parts(1);
    match request.send().await {
        Ok(listed) => Ok(!listed.parts().is_empty()),
        Err(error) if error.code() == Some("NoSuchUpload") => Ok(false),
        Err(error) => Err(storage_failure(&error.into())),
    }
}

/// Aborts an upload. One that is gone is as good.
pub(crate) async fn abort(storage: &Storage, key: &str, upload_id: &str) -> bool {
    let request = storage
        .client
        .abort_multipart_upload()
        .bucket(&storage.bucket)
        .key(key)
        .upload_id(upload_id);
    match request.send().await {
        Ok(_) => true,
        Err(error) if error.code() == Some("NoSuchUpload") => true,
        Err(error) => {
            tracing::warn!(key, error = %DisplayErrorContext(&error), "could not abort a multipart upload");
            false
        }
    }
}

fn part_number(number: usize) -> Result<i32, Failure> {
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
    const MOST: usize = 10_000;
    let number = i32::try_from(number).ok().filter(|_| number <= MOST);
    number.ok_or_else(|| {
        Failure::new(
            FailureType::SourceTooLarge,
            format!("the output has more than {MOST} parts"),
        )
    })
}
