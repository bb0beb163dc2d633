//! Writing one object: in one request, or in parts when it is large. Whatever is begun is completed or aborted.

use aws_sdk_s3::{
    Error as S3Error,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use darkroom_config::Storage;
use darkroom_workflows::failure::FailureType;

use super::{Parts, media_type::MediaType};
use crate::failure::Failure;

/// The object's SHA-256 in its metadata, by which a later attempt knows its own work.
const SHA256: &str = "sha256";

/// An object to write.
pub(super) struct Upload<'a> {
    pub(super) storage: &'a Storage,
    pub(super) key: String,
    pub(super) media_type: MediaType,
    /// Whether what lies under the key already is to be replaced.
    pub(super) replace: bool,
}

impl<'a> Upload<'a> {
    /// Writes it in one request. If the key is taken by the same bytes, that is as good.
    pub(super) async fn whole(&self, bytes: Bytes, sha256: &str) -> Result<(), Failure> {
        let sent = self
            .storage
            .client
            .put_object()
            .bucket(&self.storage.bucket)
            .key(&self.key)
            .content_type(self.media_type.content_type)
            .set_content_disposition(self.disposition())
            .metadata(SHA256, sha256)
            .set_if_none_match((!self.replace).then(|| "*".to_owned()))
            .body(ByteStream::from(bytes))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("PreconditionFailed") => self.check_present(sha256).await,
            Err(error) => Err(storage_failure(&error.into())),
        }
    }

    /// Begins to write it in parts.
    pub(super) async fn begin(&'a self) -> Result<Multipart<'a>, Failure> {
        let created = self
            .storage
            .client
            .create_multipart_upload()
            .bucket(&self.storage.bucket)
            .key(&self.key)
            .content_type(self.media_type.content_type)
            .set_content_disposition(self.disposition())
            .send()
            .await
            .map_err(|error| storage_failure(&error.into()))?;
        match created.upload_id {
            Some(id) => Ok(Multipart { upload: self, id }),
            None => Err(Failure::new(FailureType::StorageUnavailable, "the store began an upload without an id")),
        }
    }

    async fn check_present(&self, sha256: &str) -> Result<(), Failure> {
        let head = self.storage.client.head_object().bucket(&self.storage.bucket).key(&self.key).send().await;
        let head = head.map_err(|error| storage_failure(&error.into()))?;
        let present = head.metadata().and_then(|metadata| metadata.get(SHA256));
        if present.is_some_and(|present| present == sha256) {
            return Ok(());
        }
        Err(Failure::new(FailureType::StorageConflict, format!("{} is taken by other content", self.key)))
    }

    fn disposition(&self) -> Option<String> {
        self.media_type.is_active.then(|| "attachment".to_owned())
    }
}

/// An upload in parts that has begun.
pub(super) struct Multipart<'a> {
    upload: &'a Upload<'a>,
    id: String,
}

impl<'a> Multipart<'a> {
    /// Sends all parts, one after the other.
    pub(super) async fn send(&'a self, first: Bytes, parts: &mut Parts) -> Result<Sent<'a>, Failure> {
        let mut completed = Vec::new();
        let mut part = first;
        for number in 1.. {
            completed.push(self.send_part(number, part).await?);
            part = parts.next().await?;
            if part.is_empty() {
                break;
            }
        }
        Ok(Sent { multipart: self, parts: completed })
    }

    /// Drops what was sent. Should that fail as well, the bucket's lifecycle rule does it later.
    pub(super) async fn abort(&self) {
        let Upload { storage, key, .. } = self.upload;
        let request = storage.client.abort_multipart_upload().bucket(&storage.bucket).key(key).upload_id(&self.id);
        if let Err(error) = request.send().await {
            tracing::warn!(key, error = %DisplayErrorContext(&error), "could not abort a multipart upload");
        }
    }

    async fn send_part(&self, number: i32, bytes: Bytes) -> Result<CompletedPart, Failure> {
        let Upload { storage, key, .. } = self.upload;
        let request = storage.client.upload_part().bucket(&storage.bucket).key(key).upload_id(&self.id);
        let sent = request
            .part_number(number)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| storage_failure(&error.into()))?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        Ok(part.set_checksum_crc32(sent.checksum_crc32).build())
    }
}

/// An upload whose parts are all there.
pub(super) struct Sent<'a> {
    multipart: &'a Multipart<'a>,
    parts: Vec<CompletedPart>,
}

impl Sent<'_> {
    /// Makes the parts one object.
    pub(super) async fn complete(self) -> Result<(), Failure> {
        let Upload { storage, key, .. } = self.multipart.upload;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.parts)).build();
        let request = storage.client.complete_multipart_upload().bucket(&storage.bucket).key(key);
        let sent = request.upload_id(&self.multipart.id).multipart_upload(parts).send().await;
        sent.map(|_| ()).map_err(|error| storage_failure(&error.into()))
    }
}

/// Tells a store that refuses from one that is away.
#[must_use]
pub fn storage_failure(error: &S3Error) -> Failure {
    const REFUSALS: [&str; 6] = [
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoSuchBucket",
        "NotImplemented",
        "InvalidRequest",
    ];
    let code = error.code().unwrap_or_default();
    let kind = if REFUSALS.contains(&code) { FailureType::StorageRejected } else { FailureType::StorageUnavailable };
    Failure::new(kind, format!("the store failed: {}", DisplayErrorContext(error)))
}
