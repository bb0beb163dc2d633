//! `persist`: moves one output from wherever it is into the store, under a key that depends on nothing but the job, the
//! position and the type. An attempt that comes again finds its own work and overwrites nothing else.
//!
//! - [`source`]: where bytes come from
//! - [`media_type`]: what they are
//! - [`store`]: where they go

pub mod media_type;
pub mod source;
pub mod store;

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use darkroom_config::Storage;
use darkroom_workflows::{
    activities::{OutputSource, PersistInput},
    failure::FailureType,
    job::{StoredMedia, timestamp},
};
use sha2::{Digest, Sha256};
use temporalio_sdk::activities::ActivityContext;

pub use self::source::Sources;
use self::{media_type::MediaType, source::Source, store::Upload};
use crate::{failure::Failure, generate::provider::Provider, heartbeat::Heartbeat};

/// The size of a part of a multipart upload, and the largest object that is written in one request.
const PART: usize = 8 * 1024 * 1024;

/// Moves the output. Interrupted, it leaves nothing half-done behind.
///
/// # Errors
/// If the source or the store refuses, or fails for now.
pub async fn persist(
    sources: &Sources,
    provider: &dyn Provider,
    storage: &Storage,
    ctx: &ActivityContext,
    input: PersistInput,
) -> Result<StoredMedia, Failure> {
    let heartbeat = Heartbeat::start(ctx);
    let started_at = timestamp(SystemTime::now());
    let begin = async {
        let mut parts = Parts::of(open(sources, provider, &input).await?);
        let first = parts.next().await?;
        Ok((parts, first))
    };
    let (mut parts, first) = heartbeat.until_interrupted(begin).await?;
    if first.is_empty() {
        return Err(Failure::new(FailureType::UnsupportedMedia, "the source is empty"));
    }
    let media_type = MediaType::of(&first);
    let s3_key = input.job_id.media_key(input.index, media_type.extension);
    let upload = Upload { storage, key: storage.full_key(&s3_key), media_type, replace: input.replace };

    if first.len() < PART {
        upload.whole(first, &parts.sha256()).await?;
    } else {
        let multipart = upload.begin().await?;
        let stored = match heartbeat.until_interrupted(multipart.send(first, &mut parts)).await {
            Ok(sent) => sent.complete().await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = stored {
            multipart.abort().await;
            return Err(failure);
        }
    }
    Ok(StoredMedia {
        s3_key,
        content_type: media_type.content_type.to_owned(),
        size: parts.size,
        sha256: parts.sha256(),
        attempts: ctx.info().attempt,
        started_at,
        completed_at: timestamp(SystemTime::now()),
    })
}

async fn open(sources: &Sources, provider: &dyn Provider, input: &PersistInput) -> Result<Source, Failure> {
    match &input.source {
        OutputSource::Url(url) => sources.open(url).await,
        OutputSource::Prediction => {
            let prediction = provider.fetch(&input.prediction_id).await?;
            let position = usize::try_from(input.index).unwrap_or(usize::MAX);
            match prediction.outputs.get(position) {
                Some(url) => sources.open(url).await,
                None => Err(Failure::new(FailureType::SourceExpired, "the provider has removed the output")),
            }
        }
    }
}

/// Cuts a source into parts of [`PART`] bytes, the last one shorter, and hashes them as they pass.
struct Parts {
    source: Source,
    rest: Bytes,
    hasher: Sha256,
    size: u64,
}

impl Parts {
    fn of(source: Source) -> Self {
        Self { source, rest: Bytes::new(), hasher: Sha256::new(), size: 0 }
    }

    /// The next part; empty once all is read.
    async fn next(&mut self) -> Result<Bytes, Failure> {
        let mut part = BytesMut::new();
        while part.len() < PART {
            if self.rest.is_empty() {
                match self.source.chunk().await? {
                    Some(chunk) => self.rest = chunk,
                    None => break,
                }
            }
            let taken = self.rest.split_to(self.rest.len().min(PART - part.len()));
            self.hasher.update(&taken);
            self.size += taken.len() as u64;
            part.extend_from_slice(&taken);
        }
        Ok(part.freeze())
    }

    /// The SHA-256 of all that was read so far, in hexadecimal.
    fn sha256(&self) -> String {
        hex::encode(self.hasher.clone().finalize())
    }
}
