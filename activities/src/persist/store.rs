//! One object of the store: writing it in one request, and making sure of what is there.

use std::time::Duration;

use aws_sdk_s3::{
    Error as S3Error,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    operation::{
        head_object::HeadObjectError,
        put_object::{PutObjectOutput, builders::PutObjectFluentBuilder},
    },
    primitives::ByteStream,
    types::ChecksumMode,
};
use bytes::Bytes;
use darkroom_storage::{
    Storage,
    bucket::Checksums,
    digest::{Crc32, Digest},
    streaming_body::{self, Frames, Payload},
};
use darkroom_workflows::failure::FailureType;
use tokio::time::timeout;

use super::checkpoint::Sent;
use crate::failure::Failure;

/// The object's SHA-256 in its metadata, by which a later attempt knows its own work.
const SHA256: &str = "sha256";

/// The prediction that it is of, likewise.
pub(super) const PREDICTION: &str = "prediction";

/// How long the store may take to hand over a piece.
const SILENCE: Duration = Duration::from_mins(1);

/// An object to write.
pub(super) struct Object<'a> {
    pub(super) storage: &'a Storage,
    /// The key, without the prefix that all of the bucket's keys have.
    pub(super) s3_key: String,
    pub(super) prediction_id: String,
    pub(super) content_type: String,
    /// Whether a browser should save it rather than show it.
    pub(super) is_attachment: bool,
    /// Whether what lies under the key already is to be replaced.
    pub(super) replace: bool,
}

/// An object as the store shows it.
pub(super) struct Present {
    pub(super) content_type: String,
    pub(super) size: u64,
    /// What we wrote of it, if we knew it before we wrote.
    pub(super) sha256: Option<String>,
    /// What we wrote that it is of.
    pub(super) prediction_id: Option<String>,
    e_tag: Option<String>,
    /// The store's own CRC-32.
    checksum: Option<String>,
}

/// What the store says of what it took.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) e_tag: Option<String>,
    checksum: Option<String>,
}

impl From<PutObjectOutput> for Receipt {
    fn from(output: PutObjectOutput) -> Self {
        Self {
            e_tag: output.e_tag,
            checksum: output.checksum_crc32,
        }
    }
}

/// What a request to write came to.
#[derive(Debug)]
pub(super) enum Written {
    /// The store took it.
    Done(Receipt),
    /// The key is taken.
    Taken,
}

impl Object<'_> {
    pub(super) fn key(&self) -> String {
        self.storage.full_key(&self.s3_key)
    }

    /// Writes it in one request. If the key is taken by the same bytes, that is as good.
    pub(super) async fn write(&self, bytes: Bytes, digest: &Digest) -> Result<Sent, Failure> {
        let sha256 = digest.sha256();
        let with_checksums = self.storage.checksums == Checksums::WhenSupported;
        let checksum = with_checksums.then(|| Crc32::of(&bytes));
        let request = self
            .put(&self.storage.client)
            .metadata(SHA256, &sha256)
            .set_checksum_crc32(checksum.clone())
            .body(ByteStream::from(bytes))
            .customize()
            .interceptor(Payload::Hashed(sha256));
        let sent = self.sent(digest, checksum);
        match written(request.send().await) {
            // The signature had the store check every byte, and its own checksum says what it keeps. A look would tell no more.
            Ok(Written::Done(receipt))
                if receipt.checksum.is_some() && receipt.checksum == sent.checksum => {}
            Ok(Written::Done(receipt)) => self.confirm(&sent, receipt.e_tag).await?,
            Ok(Written::Taken) => self.compare(&sent).await?,
            Err(failure) => return Err(failure),
        }
        Ok(sent)
    }

    /// Begins to write it in one request while its bytes arrive. To be polled while they are sent.
    pub(super) fn stream(
        &self,
        length: u64,
    ) -> (Frames, impl Future<Output = Result<Written, Failure>>) {
        let (frames, body) = streaming_body::streamed(length);
        let request = self
            .put(&self.storage.streaming)
            .body(body)
            .customize()
            .interceptor(Payload::Streamed(length));
        (frames, async move { written(request.send().await) })
    }

    fn put(&self, client: &aws_sdk_s3::Client) -> PutObjectFluentBuilder {
        let encryption = self.storage.encryption.as_ref();
        client
            .put_object()
            .bucket(&self.storage.bucket)
            .key(self.key())
            .content_type(&self.content_type)
            .metadata(PREDICTION, &self.prediction_id)
            .set_content_disposition(self.disposition())
            .set_server_side_encryption(encryption.map(|encryption| encryption.method.clone()))
            .set_ssekms_key_id(encryption.and_then(|encryption| encryption.key_id.clone()))
            .set_if_none_match(self.if_none_match())
    }

    pub(super) fn if_none_match(&self) -> Option<String> {
        (!self.replace).then(|| "*".to_owned())
    }

    pub(super) fn disposition(&self) -> Option<String> {
        self.is_attachment.then(|| "attachment".to_owned())
    }

    pub(super) fn sent(&self, digest: &Digest, checksum: Option<String>) -> Sent {
        Sent {
            s3_key: self.s3_key.clone(),
            content_type: self.content_type.clone(),
            size: digest.size(),
            sha256: digest.sha256(),
            checksum,
        }
    }

    /// Makes sure that the store has what it was sent. If it calls by the tag of what we wrote what we did not write, that is
    /// removed: it would stand in the way.
    pub(super) async fn confirm(&self, sent: &Sent, e_tag: Option<String>) -> Result<(), Failure> {
        let wrong =
            |what: &str| Failure::new(FailureType::StorageUnavailable, format!("the store {what}"));
        let Some(present) = head(self.storage, &self.s3_key).await? else {
            return Err(wrong("took the object and does not have it"));
        };
        if present.may_be(sent) {
            return Ok(());
        }
        if e_tag.is_none() || present.e_tag != e_tag {
            return Err(wrong("has an object that was not sent"));
        }
        let key = self.key();
        tracing::error!(key, "the store has other bytes than it was sent");
        let removed = self
            .storage
            .client
            .delete_object()
            .bucket(&self.storage.bucket)
            .key(&key)
            .send()
            .await;
        removed.map_err(|error| storage_failure(&error.into()))?;
        Err(wrong("had other bytes than it was sent; they were removed"))
    }

    /// What lies under the key may be our own work, of an attempt that could not tell of it.
    pub(super) async fn compare(&self, sent: &Sent) -> Result<(), Failure> {
        let Some(present) = head(self.storage, &self.s3_key).await? else {
            return Err(Failure::new(
                FailureType::StorageUnavailable,
                "the key was taken and is not any more",
            ));
        };
        let same = match (&present.sha256, present.size == sent.size) {
            (_, false) => false,
            (Some(sha256), true) => *sha256 == sent.sha256,
            (None, true) => read_back(self.storage, &self.s3_key).await?.sha256() == sent.sha256,
        };
        if same {
            return Ok(());
        }
        Err(Failure::new(
            FailureType::StorageConflict,
            format!("{} is taken by other content", self.key()),
        ))
    }
}

impl Present {
    /// Whether nothing speaks against its being what was sent.
    pub(super) fn may_be(&self, sent: &Sent) -> bool {
        let differ = |ours: &Option<String>, theirs: &Option<String>| {
            ours.is_some() && theirs.is_some() && ours != theirs
        };
        let has_other_sha256 = self
            .sha256
            .as_ref()
            .is_some_and(|sha256| *sha256 != sent.sha256);
        self.size == sent.size && !has_other_sha256 && !differ(&sent.checksum, &self.checksum)
    }

    /// Whether it is what was sent beyond doubt.
    pub(super) fn is(&self, sent: &Sent) -> bool {
        let proven = self.sha256.as_ref() == Some(&sent.sha256)
            || (sent.checksum.is_some() && self.checksum == sent.checksum);
        proven && self.may_be(sent)
    }
}

/// Looks an object up.
pub(super) async fn head(storage: &Storage, s3_key: &str) -> Result<Option<Present>, Failure> {
    let request = storage
        .client
        .head_object()
        .bucket(&storage.bucket)
        .key(storage.full_key(s3_key));
    let head = match request.checksum_mode(ChecksumMode::Enabled).send().await {
        Ok(head) => head,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(HeadObjectError::is_not_found) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(storage_failure(&error.into())),
    };
    Ok(Some(Present {
        size: head
            .content_length()
            .and_then(|length| u64::try_from(length).ok())
            .unwrap_or_default(),
        sha256: head
            .metadata()
            .and_then(|metadata| metadata.get(SHA256))
            .cloned(),
        prediction_id: head
            .metadata()
            .and_then(|metadata| metadata.get(PREDICTION))
            .cloned(),
        e_tag: head.e_tag,
        checksum: head.checksum_crc32,
        content_type: head.content_type.unwrap_or_default(),
    }))
}

/// The key of whatever is stored of an output already, whichever type it had.
pub(super) async fn find(storage: &Storage, prefix: &str) -> Result<Option<String>, Failure> {
    let full = storage.full_key(prefix);
    let request = storage
        .client
        .list_objects_v2()
        .bucket(&storage.bucket)
        .prefix(&full)
        .max_keys(1);
    let found = request
        .send()
        .await
        .map_err(|error| storage_failure(&error.into()))?;
    let key = found.contents().first().and_then(|object| object.key());
    Ok(key
        .and_then(|key| key.strip_prefix(&full))
        .map(|extension| format!("{prefix}{extension}")))
}

/// Hashes what the store has.
pub(super) async fn read_back(storage: &Storage, s3_key: &str) -> Result<Digest, Failure> {
    let request = storage
        .streaming
        .get_object()
        .bucket(&storage.bucket)
        .key(storage.full_key(s3_key));
    let silent = |_| {
        Failure::new(
            FailureType::StorageUnavailable,
            "the store was silent for a minute",
        )
    };
    let answer = timeout(SILENCE, request.send()).await.map_err(silent)?;
    let mut body = answer.map_err(|error| storage_failure(&error.into()))?.body;
    let mut digest = Digest::new();
    loop {
        match timeout(SILENCE, body.try_next()).await.map_err(silent)? {
            Ok(Some(bytes)) => digest.update(&bytes),
            Ok(None) => return Ok(digest),
            Err(error) => {
                let detail = format!("the store broke off: {error}");
                return Err(Failure::new(FailureType::StorageUnavailable, detail));
            }
        }
    }
}

fn written<E>(answer: Result<PutObjectOutput, E>) -> Result<Written, Failure>
where
    E: ProvideErrorMetadata + Into<S3Error>,
{
    match answer {
        Ok(output) => Ok(Written::Done(output.into())),
        Err(error) if is_taken(&error) => Ok(Written::Taken),
        Err(error) => Err(storage_failure(&error.into())),
    }
}

/// Whether `If-None-Match` was not met, or two requests of the same kind met each other.
pub(super) fn is_taken(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some("PreconditionFailed")
}

/// Tells a store that refuses from one that is away.
#[must_use]
pub(crate) fn storage_failure(error: &S3Error) -> Failure {
    const REFUSALS: [&str; 6] = [
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoSuchBucket",
        "NotImplemented",
        "InvalidRequest",
    ];
    let code = error.code().unwrap_or_default();
    let kind = if REFUSALS.contains(&code) {
        FailureType::StorageRejected
    } else {
        FailureType::StorageUnavailable
    };
    Failure::new(
        kind,
        format!("the store failed: {}", DisplayErrorContext(error)),
    )
}
