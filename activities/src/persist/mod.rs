//! `persist`: moves one output from wherever it is into the store, under a key that depends on nothing but the job, the
//! position and the type. An attempt that comes again finds its own work, goes on where it stopped and overwrites nothing
//! else.
//!
//! - [`source`]: where bytes come from
//! - [`media_type`]: what they are
//! - [`transfer`]: how they get from the one to the other; `flow`: doing it
//! - `store`, `multipart`: where they go, in one request or in parts
//! - [`memory`]: what all outputs on their way share, [`slots`]: how many of them there are; `shares`: no tenant has it all
//! - [`room`]: what one of them takes of it, while it moves and while it crawls
//! - [`checkpoint`]: what an attempt leaves for the one after it

pub mod checkpoint;
pub mod media_type;
pub mod memory;
pub mod room;
pub mod slots;
pub mod source;
pub mod transfer;

mod flow;
mod multipart;
mod shares;
mod store;

use std::time::SystemTime;

use darkroom_providers::{Provider, ProviderError};
use darkroom_workflows::{
    contract::{collect::OutputSource, persist::PersistInput},
    failure::FailureType,
    job::{StoredMedia, timestamp},
};
use temporalio_sdk::activities::ActivityContext;

use self::{
    checkpoint::{Journal, PersistCheckpoint, Sent, UploadCheckpoint},
    room::Room,
    source::Source,
    store::Present,
    transfer::Destination,
};
pub use self::{memory::Memory, source::Sources, transfer::Engine};
pub(crate) use self::{multipart::abort, store::storage_failure};
use crate::{
    failure::Failure,
    generate::watching,
    heartbeat::{Handover, Heartbeat},
    metrics,
};

/// Moves the output. What an interrupted attempt leaves is what the next one goes on with, or nothing.
///
/// # Errors
/// If the source or the store refuses, or fails for now.
pub async fn persist(
    sources: &Sources,
    provider: &dyn Provider,
    engine: &Engine,
    ctx: &ActivityContext,
    handover: Handover,
    input: PersistInput,
) -> Result<StoredMedia, Failure> {
    let attempts = ctx.info().attempt;
    let started_at = timestamp(SystemTime::now());
    let earlier: PersistCheckpoint = ctx
        .heartbeat_details()
        .deserialize()
        .ok()
        .flatten()
        .unwrap_or_default();
    let heartbeat = Heartbeat::start(ctx, handover);
    let result = {
        let journal = Journal::new(input.index, &heartbeat);
        let attempt = Attempt {
            sources,
            provider,
            engine,
            input: &input,
            journal: &journal,
        };
        let result = tokio::select! {
            result = heartbeat.until_interrupted(Box::pin(attempt.run(attempts, earlier))) => result,
            failure = journal.keep() => Err(failure),
        };
        if let Err(failure) = &result {
            attempt.leave(failure).await;
        }
        result
    };
    let result = heartbeat.end(result).await;
    result.map(
        |Sent {
             s3_key,
             content_type,
             size,
             sha256,
             ..
         }| {
            metrics::stored(size);
            let completed_at = timestamp(SystemTime::now());
            StoredMedia {
                s3_key,
                content_type,
                size,
                sha256,
                attempts,
                started_at,
                completed_at,
            }
        },
    )
}

/// One attempt.
struct Attempt<'a> {
    sources: &'a Sources,
    provider: &'a dyn Provider,
    engine: &'a Engine,
    input: &'a PersistInput,
    journal: &'a Journal<'a>,
}

impl Attempt<'_> {
    async fn run(&self, attempt: u32, earlier: PersistCheckpoint) -> Result<Sent, Failure> {
        self.journal
            .advance_to(earlier.upload.as_ref().map_or(0, |upload| upload.bytes));
        self.journal.note(|checkpoint| {
            checkpoint.upload.clone_from(&earlier.upload);
            checkpoint.sent.clone_from(&earlier.sent);
        });
        if attempt > 1
            && let Some(sent) = self.done(earlier.sent.clone()).await?
        {
            return Ok(sent);
        }
        let mut room = Room::enter(&self.engine.memory, self.input.tenant.as_ref()).await?;
        let is_all_sent = earlier.is_all_sent();
        let upload = self.still_open(earlier.upload, is_all_sent).await?;
        if let (Some(upload), Some(sent), true) = (&upload, earlier.sent, is_all_sent) {
            self.engine
                .complete(
                    upload.clone(),
                    &sent,
                    self.input.prediction.id.as_str(),
                    self.input.replace,
                )
                .await?;
            return Ok(sent);
        }
        // A prediction with files in it is large, and has to be read as a whole.
        let inline = self.input.source == OutputSource::Prediction;
        let _turn = if inline {
            room.wait(self.engine.memory.turn()).await?
        } else {
            None
        };
        let (source, upload) = match room.wait(self.open(upload)).await? {
            // Temporal may have been away when an attempt was done. What it stored outlasts its source.
            Err(failure) if attempt > 1 && may_have_moved(&failure) => {
                return self.recovered().await?.ok_or(failure);
            }
            opened => opened?,
        };
        let PersistInput {
            job_id,
            prediction,
            index,
            replace,
            ..
        } = self.input;
        let (job_id, prediction_id) = (job_id.clone(), prediction.id.to_string());
        let to = Destination {
            job_id,
            prediction_id,
            index: *index,
            replace: *replace,
        };
        Box::pin(
            self.engine
                .transfer(&to, source, upload, self.journal, room),
        )
        .await
    }

    /// What an attempt before this one has stored already, if it could not tell.
    async fn done(&self, sent: Option<Sent>) -> Result<Option<Sent>, Failure> {
        if let Some(sent) = sent {
            let present = store::head(&self.engine.storage, &sent.s3_key).await?;
            return Ok(present
                .is_some_and(|present| self.is_ours(&present) && present.may_be(&sent))
                .then_some(sent));
        }
        let Some((
            s3_key,
            Present {
                content_type,
                size,
                sha256,
                ..
            },
        )) = self.present().await?
        else {
            return Ok(None);
        };
        Ok(sha256.map(|sha256| Sent {
            s3_key,
            content_type,
            size,
            sha256,
            checksum: None,
        }))
    }

    /// What an attempt before this one has stored, although neither it nor the source tells any more what it was: the store takes
    /// nothing by halves.
    async fn recovered(&self) -> Result<Option<Sent>, Failure> {
        let Some((s3_key, Present { content_type, .. })) = self.present().await? else {
            return Ok(None);
        };
        let digest = store::read_back(&self.engine.storage, &s3_key).await?;
        Ok(Some(Sent {
            s3_key,
            content_type,
            size: digest.size(),
            sha256: digest.sha256(),
            checksum: None,
        }))
    }

    /// What is stored of this very output.
    async fn present(&self) -> Result<Option<(String, Present)>, Failure> {
        let storage = &self.engine.storage;
        let prefix = self.input.job_id.media_key(self.input.index, "");
        let Some(s3_key) = store::find(storage, &prefix).await? else {
            return Ok(None);
        };
        let present = store::head(storage, &s3_key)
            .await?
            .filter(|present| self.is_ours(present));
        Ok(present.map(|present| (s3_key, present)))
    }

    /// Whether an object is of this very prediction: there may be one of an earlier generation.
    fn is_ours(&self, present: &Present) -> bool {
        present.prediction_id.as_deref() == Some(self.input.prediction.id.as_str())
    }

    /// An upload that can be gone on with: the sweep, or an attempt that took its time, may have aborted it.
    async fn still_open(
        &self,
        upload: Option<UploadCheckpoint>,
        is_all_sent: bool,
    ) -> Result<Option<UploadCheckpoint>, Failure> {
        let Some(upload) = upload else {
            return Ok(None);
        };
        let storage = &self.engine.storage;
        let key = storage.full_key(&upload.s3_key);
        let is_of_use = is_all_sent || upload.can_be_gone_on_with();
        if is_of_use && multipart::is_open(storage, &key, &upload.upload_id).await? {
            return Ok(Some(upload));
        }
        self.drop_upload(&upload).await;
        Ok(None)
    }

    /// Opens the source, where an upload is under way at the place that it has reached.
    async fn open(
        &self,
        upload: Option<UploadCheckpoint>,
    ) -> Result<(Source, Option<UploadCheckpoint>), Failure> {
        let source = match &self.input.source {
            OutputSource::Prediction => self.open_at(&self.told().await?, upload.as_ref()).await?,
            OutputSource::Url(url) => match self.open_at(url, upload.as_ref()).await {
                Err(failure) if may_have_moved(&failure) => {
                    let told = self.told().await?;
                    if told == *url {
                        return Err(failure);
                    }
                    self.open_at(&told, upload.as_ref()).await?
                }
                opened => opened?,
            },
        };
        match upload {
            Some(upload) if upload.bytes != source.position() => {
                self.drop_upload(&upload).await;
                Ok((source, None))
            }
            upload => Ok((source, upload)),
        }
    }

    async fn open_at(
        &self,
        url: &str,
        upload: Option<&UploadCheckpoint>,
    ) -> Result<Source, Failure> {
        if let Some(UploadCheckpoint {
            bytes,
            validator: Some(validator),
            ..
        }) = upload
        {
            match self.sources.open_at(url, *bytes, validator).await {
                // It may be the part that the host has trouble with. The whole would do.
                Err(failure) if failure.kind() == Some(FailureType::SourceUnavailable) => {}
                opened => return opened,
            }
        }
        self.sources.open(url).await
    }

    /// Where the provider says that the output is, now.
    async fn told(&self) -> Result<String, Failure> {
        let position = usize::try_from(self.input.index).unwrap_or(usize::MAX);
        let output = self.provider.output(&self.input.prediction, position);
        let url = output.await.map_err(reading)?;
        url.ok_or_else(|| {
            Failure::new(
                FailureType::SourceExpired,
                "the provider has removed the output",
            )
        })
    }

    /// Sees to an upload that this attempt does not finish.
    async fn leave(&self, failure: &Failure) {
        let checkpoint = self.journal.checkpoint();
        let is_all_sent = checkpoint.is_all_sent();
        let Some(upload) = checkpoint.upload else {
            return;
        };
        let can_go_on = failure.is_retryable() && (is_all_sent || upload.can_be_gone_on_with());
        if !can_go_on {
            self.drop_upload(&upload).await;
        }
        // What the server does not know of, the next attempt sends again; or goes on with, although it is gone.
        if failure.is_retryable()
            && let Err(failure) = self.journal.record(|_| {}).await
        {
            tracing::debug!(%failure, "the latest progress is not recorded");
        }
    }

    async fn drop_upload(&self, upload: &UploadCheckpoint) {
        let storage = &self.engine.storage;
        abort(
            storage,
            &storage.full_key(&upload.s3_key),
            &upload.upload_id,
        )
        .await;
        self.journal
            .note(|checkpoint| (checkpoint.upload, checkpoint.sent) = (None, None));
    }
}

/// A prediction that the provider knows no more has no outputs any more either.
fn reading(error: ProviderError) -> Failure {
    match error {
        ProviderError::NotFound => Failure::new(FailureType::SourceExpired, error.to_string()),
        error => watching(error),
    }
}

/// Whether the provider may know another address for it by now: links expire, and so do the signatures in them.
fn may_have_moved(failure: &Failure) -> bool {
    matches!(
        failure.kind(),
        Some(FailureType::SourceExpired | FailureType::SourceRejected)
    )
}
