//! `persist`: uploads one output into the store, under a key that depends only on the job, the
//! output's position and its media type. An attempt that is retried finds what earlier attempts
//! stored, resumes their upload, and overwrites nothing else. The steps of an attempt are here; the
//! files below do the work.
//!
//! In reading order:
//!
//! - [`engine`]: what all uploads of a process share
//! - [`checkpoint`]: progress in the heartbeat details; `resume`: what the next attempt does with
//!   it; `stored_finder`: finds the object that an earlier attempt stored
//! - `source_opener`: opens the source, and waits for a file that its host does not have yet
//! - [`source`]: the bytes of an output, from an HTTP download or a `data:` URL
//! - `transfer`: chooses the kind of upload; `upload`: sends one request or the parts of a
//!   multipart upload
//! - [`memory`]: the memory budget of all outputs; `fair_semaphore`: its fair division among
//!   tenants; `turns`: a permit that they take in turn
//! - [`slots`]: slots of a worker; [`budget_lease`]: what one output takes of the budget and the
//!   slots
//! - [`media_type`]: media type detection; `object`: the object that is written, with its
//!   key; `disposition`: the `Content-Disposition` header
//! - `inspector`, `isobmff`: dimensions, duration and Content Credentials; `preview`: thumbnails

pub mod budget_lease;
pub mod checkpoint;
pub mod engine;
pub mod media_type;
pub mod memory;
pub mod slots;
pub mod source;

mod disposition;
mod fair_semaphore;
mod inspector;
mod isobmff;
mod object;
mod preview;
mod resume;
mod source_opener;
mod stored_finder;
mod transfer;
mod turns;
mod upload;

use std::time::SystemTime;

use darkroom_providers::Provider;
use darkroom_storage::UploadedObject;
use darkroom_temporal::heartbeat::{Drain, Heartbeat};
use darkroom_workflows::{
    contract::persist::PersistInput,
    job::{StoredMedia, timestamp},
};
use temporalio_sdk::activities::ActivityContext;

use self::{
    budget_lease::BudgetLease,
    checkpoint::{CheckpointRecorder, PersistCheckpoint, UploadCheckpoint},
    engine::BUFFER,
    preview::Original,
    resume::Resume,
    source::Source,
    source_opener::{SourceOpener, is_gone},
    stored_finder::StoredFinder,
    transfer::{Stored, transfer},
};
pub use self::{engine::Engine, memory::Memory, preview::Previewer, source::Sources};
use crate::{failure::Failure, metrics};

/// Uploads the output. If an earlier attempt was interrupted, its upload is resumed from the
/// checkpoint, or begun anew.
///
/// # Errors
/// If the source or the store refuses, or fails for now, or if the attempt is canceled or
/// interrupted.
pub async fn persist(
    sources: &Sources,
    provider: &dyn Provider,
    engine: &Engine,
    ctx: &ActivityContext,
    drain: Drain,
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
    let heartbeat = Heartbeat::start(ctx, drain);
    let result = {
        let recorder = CheckpointRecorder::new(input.index, &heartbeat);
        let attempt = Attempt {
            finder: StoredFinder {
                storage: &engine.storage,
                input: &input,
            },
            opener: SourceOpener {
                sources,
                provider,
                memory: &engine.memory,
                input: &input,
            },
            engine,
            input: &input,
            recorder: &recorder,
        };
        let stored = tokio::select! {
            stored = heartbeat.until_interrupted(Box::pin(attempt.store(attempts, earlier))) => stored,
            failure = recorder.send_at_intervals() => Err(failure),
        };
        match stored {
            Ok(stored) => {
                let completed_at = timestamp(SystemTime::now());
                // The output is stored, whether or not it gets a preview.
                let original = Original {
                    object: &stored.object,
                    facts: &stored.facts,
                    bytes: stored.kept.as_ref().map(|kept| kept.bytes().clone()),
                };
                let Engine {
                    storage,
                    memory,
                    previewer,
                    ..
                } = engine;
                let preview = previewer.preview(storage, memory, &input, original);
                let preview = tokio::select! {
                    preview = Box::pin(preview) => preview,
                    _ = heartbeat.interrupted() => None,
                };
                Ok((stored, completed_at, preview))
            }
            Err(failure) => {
                attempt.finish_failed(&failure).await;
                Err(failure)
            }
        }
    };
    let result = heartbeat.end(result).await;
    result.map(|(Stored { object, facts, .. }, completed_at, preview)| {
        metrics::stored(object.size);
        StoredMedia {
            s3_key: object.s3_key,
            content_type: object.content_type,
            size: object.size,
            sha256: object.sha256,
            facts,
            preview,
            attempts,
            started_at,
            completed_at,
        }
    })
}

/// One attempt at `persist`.
struct Attempt<'a> {
    finder: StoredFinder<'a>,
    opener: SourceOpener<'a>,
    engine: &'a Engine,
    input: &'a PersistInput,
    recorder: &'a CheckpointRecorder<'a>,
}

impl Attempt<'_> {
    /// Stores the output: finds or resumes an earlier attempt's work, opens the source, transfers
    /// it.
    async fn store(&self, attempt: u32, earlier: PersistCheckpoint) -> Result<Stored, Failure> {
        self.recorder.continue_from(&earlier);
        if attempt > 1
            && let Some(stored) = self.finder.find(&earlier).await?
        {
            return Ok(stored);
        }
        let mut lease = BudgetLease::enter(&self.engine.memory, self.input.tenant.as_ref()).await?;
        let facts = earlier.facts;
        let upload = match self.resume(earlier).await? {
            Resume::Complete(upload, object) => {
                self.complete(&upload, &object).await?;
                return Ok(Stored {
                    object,
                    facts,
                    kept: None,
                });
            }
            Resume::Continue(upload) => Some(upload),
            Resume::Begin | Resume::Abandon(_) => None,
        };
        let (source, upload) = match lease.wait(self.open(upload)).await? {
            // An attempt whose result did not reach Temporal, or one before a reset, may have
            // stored the output. It outlasts its source.
            Err(failure) if is_gone(&failure) => {
                return self.finder.recover().await?.ok_or(failure);
            }
            opened => opened?,
        };
        self.transfer(source, upload, &mut lease).await
    }

    /// Transfers the bytes. If the store turns out not to take streamed trailers, sends them again
    /// from memory at once.
    async fn transfer(
        &self,
        source: Source,
        upload: Option<UploadCheckpoint>,
        lease: &mut BudgetLease,
    ) -> Result<Stored, Failure> {
        let Self {
            engine,
            input,
            recorder,
            ..
        } = *self;
        let streams = engine.streams();
        let sent = Box::pin(transfer(engine, input, source, upload, recorder, lease)).await;
        match sent {
            Err(failure) if streams && !engine.streams() => {
                if let Some(upload) = recorder.checkpoint().upload {
                    self.abort_unfinished(&upload).await;
                }
                tracing::debug!(%failure, "sending the output again, from memory");
                let (source, _) = lease.wait(self.open(None)).await??;
                Box::pin(transfer(engine, input, source, None, recorder, lease)).await
            }
            sent => sent,
        }
    }

    /// Decides what to do with an earlier attempt's upload. The sweep or a slow attempt may have
    /// aborted it, so the store is asked for its parts.
    async fn resume(&self, earlier: PersistCheckpoint) -> Result<Resume, Failure> {
        let resume = Resume::decide(earlier);
        let (upload, is_of_use) = match &resume {
            Resume::Begin => return Ok(Resume::Begin),
            Resume::Complete(upload, _) => (upload, true),
            // Parts that are not streamed have another size.
            Resume::Continue(upload) => {
                let is_streamed = upload.part_size > BUFFER as u64;
                (upload, !is_streamed || self.engine.streams())
            }
            Resume::Abandon(upload) => (upload, false),
        };
        if is_of_use && self.engine.storage.has_parts(&upload.upload()).await? {
            return Ok(resume);
        }
        self.abort_unfinished(upload).await;
        Ok(Resume::Begin)
    }

    /// Completes an upload of which an earlier attempt had sent all parts.
    async fn complete(
        &self,
        upload: &UploadCheckpoint,
        sent: &UploadedObject,
    ) -> Result<(), Failure> {
        let (storage, existing) = (&self.engine.storage, object::existing(self.input));
        let (upload, parts) = (upload.upload(), &upload.parts);
        Ok(storage
            .complete_upload(&upload, parts, sent, existing)
            .await?)
    }

    /// Opens the source, at the position that the upload under way has reached. If the source
    /// starts at another position, the upload is aborted.
    async fn open(
        &self,
        upload: Option<UploadCheckpoint>,
    ) -> Result<(Source, Option<UploadCheckpoint>), Failure> {
        let source = self.opener.open(upload.as_ref()).await?;
        match upload {
            Some(upload) if upload.bytes != source.position() => {
                self.abort_unfinished(&upload).await;
                Ok((source, None))
            }
            upload => Ok((source, upload)),
        }
    }

    /// Ends a failed attempt: aborts an upload that cannot be resumed, and records the checkpoint.
    async fn finish_failed(&self, failure: &Failure) {
        let checkpoint = self.recorder.checkpoint();
        let is_all_sent = checkpoint.is_all_sent();
        let Some(upload) = checkpoint.upload else {
            return;
        };
        let is_of_use = failure.is_retryable() && (is_all_sent || upload.is_resumable());
        if !is_of_use {
            self.abort_unfinished(&upload).await;
        }
        // Without this record the next attempt would send parts again that the store has, or resume
        // an upload that was aborted.
        if failure.is_retryable()
            && let Err(failure) = self.recorder.record(|_| {}).await
        {
            tracing::debug!(%failure, "cannot record the latest checkpoint");
        }
    }

    /// Aborts an upload that no attempt will complete.
    async fn abort_unfinished(&self, upload: &UploadCheckpoint) {
        self.engine.storage.abort_upload(&upload.upload()).await;
        self.recorder
            .note(|checkpoint| (checkpoint.upload, checkpoint.sent) = (None, None));
    }
}
