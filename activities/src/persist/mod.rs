//! `persist`: uploads one output into the store, under a key that depends only on the job, the
//! output's position and its media type. An attempt that is retried finds what earlier attempts
//! stored, resumes their upload, and overwrites nothing else.
//!
//! In reading order:
//!
//! - [`engine`]: what all uploads of a process share, and the destination of one output
//! - [`source`]: the bytes of an output, from an HTTP download or a `data:` URL
//! - `transfer`: chooses the kind of upload; `upload`: sends one request or the parts of a
//!   multipart upload
//! - [`checkpoint`]: progress in the heartbeat details; `resume`: what the next attempt does with
//!   it
//! - [`memory`]: the memory budget of all outputs; `shares`: its fair division among tenants
//! - [`slots`]: slots of a worker; [`budget_lease`]: what one output takes of the budget and the
//!   slots
//! - [`media_type`]: media type detection; `disposition`: the `Content-Disposition` header
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
mod preview;
mod resume;
mod transfer;
mod upload;

use std::time::{Duration, Instant, SystemTime};

use darkroom_providers::{Provider, ProviderError};
use darkroom_storage::{Existing, ObjectHead, UploadedObject};
use darkroom_temporal::heartbeat::{Drain, Heartbeat};
use darkroom_workflows::{
    contract::{collect::OutputSource, persist::PersistInput},
    failure::FailureType,
    job::{StoredMedia, timestamp},
    request::OutputFormat,
};
use temporalio_sdk::activities::ActivityContext;

use self::{
    budget_lease::BudgetLease,
    checkpoint::{CheckpointRecorder, PersistCheckpoint, UploadCheckpoint},
    engine::{Destination, PREDICTION},
    inspector::Inspector,
    media_type::MediaType,
    resume::Resume,
    source::{Hints, OpenError, Source},
    transfer::{Stored, transfer},
};
pub use self::{engine::Engine, memory::Memory, preview::Previewer, source::Sources};
use crate::{failure::Failure, generate::retryable_after_purchase, metrics};

/// Longest wait for a file that the provider names and its host does not have yet. Meanwhile the
/// host is asked with an exponential backoff, from the first to the longest pause.
const APPEARS_WITHIN: Duration = Duration::from_secs(40);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Number of requests to the host for each time that the provider is asked for the current URL.
const REQUESTS_PER_URL_LOOKUP: u32 = 3;

/// Maximum number of keys that are listed for one output: one for each media type that it ever had.
const KEYS_OF_AN_OUTPUT: u16 = 32;

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
            sources,
            provider,
            engine,
            input: &input,
            recorder: &recorder,
        };
        let stored = tokio::select! {
            stored = heartbeat.until_interrupted(Box::pin(attempt.store(attempts, earlier))) => stored,
            failure = recorder.keep() => Err(failure),
        };
        match stored {
            Ok(stored) => {
                let completed_at = timestamp(SystemTime::now());
                // The output is stored, whether or not it gets a preview.
                let preview = tokio::select! {
                    preview = Box::pin(engine.previewer.preview(engine, &input, &stored)) => preview,
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
    sources: &'a Sources,
    provider: &'a dyn Provider,
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
            && let Some(stored) = self.find_stored(&earlier).await?
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
        let mut turn = None;
        if self.input.source == OutputSource::Prediction {
            // A prediction with inline files is large and must be read as a whole: one at a time.
            turn = lease.wait(self.engine.memory.inline_permit()).await?;
        }
        let (source, upload) = match lease.wait(self.open(upload)).await? {
            // An attempt whose result did not reach Temporal, or one before a reset, may have
            // stored the output. It outlasts its source.
            Err(failure) if is_gone(&failure) => {
                return self.recover().await?.ok_or(failure);
            }
            opened => opened?,
        };
        if !source.is_inline() {
            drop(turn);
        }
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
        let (engine, to) = (self.engine, self.destination());
        let streams = engine.streams();
        let sent = Box::pin(transfer(engine, &to, source, upload, self.recorder, lease)).await;
        match sent {
            Err(failure) if streams && !engine.streams() => {
                if let Some(upload) = self.recorder.checkpoint().upload {
                    self.abort_unfinished(&upload).await;
                }
                tracing::debug!(%failure, "sending the output again, from memory");
                let (source, _) = lease.wait(self.open(None)).await??;
                Box::pin(transfer(engine, &to, source, None, self.recorder, lease)).await
            }
            sent => sent,
        }
    }

    fn destination(&self) -> Destination {
        Destination {
            job_id: self.input.job_id,
            prediction_id: self.input.prediction.id.to_string(),
            index: self.input.index,
            name: self.input.name.clone(),
            existing: existing(self.input),
        }
    }

    /// Returns what an earlier attempt stored without being able to report it.
    async fn find_stored(&self, earlier: &PersistCheckpoint) -> Result<Option<Stored>, Failure> {
        if let Some(sent) = &earlier.sent {
            let head = self.engine.storage.head(&sent.s3_key).await?;
            let is_there = head.is_some_and(|head| self.is_ours(&head) && head.may_be(sent));
            return Ok(is_there.then(|| Stored {
                object: sent.clone(),
                facts: earlier.facts,
                kept: None,
            }));
        }
        let Some((s3_key, head)) = self.present().await? else {
            return Ok(None);
        };
        let Some(sha256) = head.sha256 else {
            return Ok(None);
        };
        let object = UploadedObject {
            s3_key,
            content_type: head.content_type,
            size: head.size,
            sha256,
            checksum: None,
        };
        self.described(object).await.map(Some)
    }

    /// Returns what an earlier attempt stored if neither its checkpoint nor the source can tell
    /// what it was. An object is in the store as a whole or not at all, so its digest is computed
    /// from it.
    async fn recover(&self) -> Result<Option<Stored>, Failure> {
        let Some((s3_key, head)) = self.present().await? else {
            return Ok(None);
        };
        let digest = self.engine.storage.digest(&s3_key).await?;
        let object = UploadedObject {
            s3_key,
            content_type: head.content_type,
            size: digest.size(),
            sha256: digest.sha256(),
            checksum: None,
        };
        self.described(object).await.map(Some)
    }

    /// Inspects the beginning of a stored object.
    async fn described(&self, object: UploadedObject) -> Result<Stored, Failure> {
        let storage = &self.engine.storage;
        let head = storage
            .read_beginning(&object.s3_key, media_type::HEAD)
            .await?;
        let mut inspector = Inspector::begin(&head, MediaType::of(&head, &Hints::default()));
        inspector.update(&head);
        Ok(Stored {
            object,
            facts: inspector.facts(),
            kept: None,
        })
    }

    /// Returns the object that is stored for this output, whichever media type it had.
    async fn present(&self) -> Result<Option<(String, ObjectHead)>, Failure> {
        let storage = &self.engine.storage;
        let prefix = self.input.job_id.media_key(self.input.index, "");
        let page = storage.list(&prefix, None, KEYS_OF_AN_OUTPUT).await?;
        for object in page.objects {
            if let Some(head) = storage.head(&object.key).await?
                && self.is_ours(&head)
            {
                return Ok(Some((object.key, head)));
            }
        }
        Ok(None)
    }

    /// True if an object is of this prediction: there may be one of an earlier generation.
    fn is_ours(&self, head: &ObjectHead) -> bool {
        head.metadata(PREDICTION) == Some(self.input.prediction.id.as_str())
    }

    /// Decides what to do with an earlier attempt's upload. The sweep or a slow attempt may have
    /// aborted it, so the store is asked for its parts.
    async fn resume(&self, earlier: PersistCheckpoint) -> Result<Resume, Failure> {
        let resume = Resume::decide(earlier);
        let (upload, is_of_use) = match &resume {
            Resume::Begin => return Ok(Resume::Begin),
            Resume::Complete(upload, _) | Resume::Continue(upload) => (upload, true),
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
        let (storage, existing) = (&self.engine.storage, existing(self.input));
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
        let source = self.open_with_retries(upload.as_ref()).await?;
        match upload {
            Some(upload) if upload.bytes != source.position() => {
                self.abort_unfinished(&upload).await;
                Ok((source, None))
            }
            upload => Ok((source, upload)),
        }
    }

    async fn open_with_retries(
        &self,
        upload: Option<&UploadCheckpoint>,
    ) -> Result<Source, Failure> {
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut address = match &self.input.source {
            OutputSource::Url(url) => url.clone(),
            OutputSource::Prediction | OutputSource::Withheld => self.current_url().await?,
        };
        for look in 0.. {
            let failure = match self.open_at(&address, upload).await {
                Ok(mut source) => match self.error_page(&mut source).await? {
                    Some(failure) => failure,
                    None => return Ok(source),
                },
                Err(error) => {
                    let may_be_elsewhere =
                        may_have_moved(&error) && look % REQUESTS_PER_URL_LOOKUP == 0;
                    let told = if may_be_elsewhere {
                        self.current_url().await?
                    } else {
                        address.clone()
                    };
                    if told != address {
                        address = told;
                        continue;
                    }
                    match error {
                        OpenError::Absent(failure) => failure,
                        OpenError::Failed(failure) => return Err(failure),
                    }
                }
            };
            if begin.elapsed() + pause > APPEARS_WITHIN {
                return Err(failure);
            }
            tracing::debug!(%failure, "the host does not have the output yet; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("the loop ends by returning")
    }

    /// Returns a failure if the host sent an error page instead of media, as some hosts do until
    /// the file is there. Checks only the beginning of a file, and no inline outputs, which come
    /// from the provider itself.
    async fn error_page(&self, source: &mut Source) -> Result<Option<Failure>, Failure> {
        if source.position() > 0 || source.is_inline() {
            return Ok(None);
        }
        let head = source.peek(media_type::HEAD).await?;
        let asked_for_media = self.input.output_format.is_some_and(OutputFormat::is_media);
        let is_page = media_type::is_error_page(&head, source.hints(), asked_for_media);
        Ok(is_page.then(|| {
            let detail =
                "the output's host sent text in place of an image, a sound or a video file";
            Failure::new(FailureType::UnsupportedMedia, detail)
        }))
    }

    async fn open_at(
        &self,
        url: &str,
        upload: Option<&UploadCheckpoint>,
    ) -> Result<Source, OpenError> {
        if let Some(UploadCheckpoint {
            bytes,
            validator: Some(validator),
            ..
        }) = upload
        {
            match self.sources.try_open_at(url, *bytes, validator).await {
                // The host may have trouble with the range only: then the whole file is requested.
                Err(OpenError::Failed(failure))
                    if failure.kind() == Some(FailureType::SourceUnavailable) => {}
                opened => return opened,
            }
        }
        self.sources.try_open(url).await
    }

    /// Returns the current URL of the output, as the provider reports it.
    async fn current_url(&self) -> Result<String, Failure> {
        let position = usize::try_from(self.input.index).unwrap_or(usize::MAX);
        let output = self.provider.output(&self.input.prediction, position);
        let url = output.await.map_err(source_failure)?;
        url.ok_or_else(|| {
            Failure::new(
                FailureType::SourceExpired,
                "the provider has removed the output",
            )
        })
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

/// Returns what to do with an object that is already stored under the output's key.
fn existing(input: &PersistInput) -> Existing {
    if input.replace {
        Existing::Replace
    } else {
        Existing::Keep
    }
}

/// Converts an error of reading the output's URL. If the provider no longer knows the prediction,
/// its outputs are gone as well.
fn source_failure(error: ProviderError) -> Failure {
    match error {
        ProviderError::NotFound => Failure::new(FailureType::SourceExpired, error.to_string()),
        error => retryable_after_purchase(error),
    }
}

/// True if the provider may know another URL by now: links expire, and so do the signatures in
/// them.
fn may_have_moved(error: &OpenError) -> bool {
    match error {
        OpenError::Absent(_) => true,
        OpenError::Failed(failure) => is_gone(failure),
    }
}

/// True if the source can no longer be downloaded.
fn is_gone(failure: &Failure) -> bool {
    matches!(
        failure.kind(),
        Some(FailureType::SourceExpired | FailureType::SourceRejected)
    )
}
