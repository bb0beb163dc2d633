//! What an attempt leaves for the one after it, in its heartbeats: how far it came, the upload that it has under way, and
//! what it has sent as a whole. Where nobody comes after, as in a benchmark, it is kept for nobody.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use darkroom_storage::{NewObject, Upload, UploadedObject, UploadedPart, digest::Digest};
use darkroom_temporal::heartbeat::Heartbeat;
use darkroom_workflows::{contract::persist::PersistProgress, job::MediaFacts};
use serde::{Deserialize, Serialize};

use super::{
    engine::{Destination, PREDICTION},
    inspector::Inspector,
    source::Validator,
};
use crate::failure::Failure;

/// How often progress goes into the heartbeats.
const INTERVAL: Duration = Duration::from_secs(1);

/// What an attempt leaves.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct PersistCheckpoint {
    #[serde(flatten)]
    pub(super) progress: PersistProgress,
    /// A multipart upload that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload: Option<UploadCheckpoint>,
    /// An object that was sent as a whole: if it is in the store, the work is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sent: Option<UploadedObject>,
    /// What was seen of it.
    #[serde(default)]
    pub(super) facts: MediaFacts,
}

/// A multipart upload, and how to go on with it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct UploadCheckpoint {
    pub(super) s3_key: String,
    pub(super) content_type: String,
    pub(super) upload_id: String,
    /// By what the source shows that it is still the same file. Without it, it cannot be resumed.
    pub(super) validator: Option<Validator>,
    pub(super) parts: Vec<UploadedPart>,
    /// How many bytes the parts have.
    pub(super) bytes: u64,
    /// The state of the digest after them.
    pub(super) digest: String,
    /// And that of what is seen of them.
    #[serde(default)]
    pub(super) inspector: Inspector,
}

impl PersistCheckpoint {
    /// Whether the upload's parts are all there.
    pub(super) fn is_all_sent(&self) -> bool {
        let (Some(upload), Some(sent)) = (&self.upload, &self.sent) else {
            return false;
        };
        upload.bytes == sent.size && upload.s3_key == sent.s3_key
    }
}

impl UploadCheckpoint {
    /// The upload as the store knows it.
    pub(super) fn upload(&self) -> Upload {
        Upload {
            key: self.s3_key.clone(),
            id: self.upload_id.clone(),
        }
    }

    /// The object that it is to be. How it is presented was said when it began.
    pub(super) fn object(&self, to: &Destination) -> NewObject {
        NewObject {
            key: self.s3_key.clone(),
            content_type: self.content_type.clone(),
            content_disposition: None,
            metadata: vec![(PREDICTION, to.prediction_id.clone())],
            existing: to.existing,
        }
    }

    /// Whether the rest of the very same file can be asked for, and added to what is there.
    pub(super) fn is_resumable(&self) -> bool {
        self.validator.is_some()
            && self.bytes > 0
            && Digest::restore(&self.digest, self.bytes).is_some()
    }
}

/// Where an attempt notes how far it is.
pub struct Journal<'a> {
    heartbeat: Option<&'a Heartbeat>,
    bytes_done: AtomicU64,
    checkpoint: Mutex<PersistCheckpoint>,
}

impl<'a> Journal<'a> {
    pub(super) fn new(index: u32, heartbeat: &'a Heartbeat) -> Self {
        Self {
            heartbeat: Some(heartbeat),
            ..Self::unrecorded(index)
        }
    }

    /// A journal that nobody reads.
    #[must_use]
    pub fn unrecorded(index: u32) -> Self {
        let progress = PersistProgress {
            index,
            ..PersistProgress::default()
        };
        let checkpoint = PersistCheckpoint {
            progress,
            ..PersistCheckpoint::default()
        };
        Self {
            heartbeat: None,
            bytes_done: AtomicU64::new(0),
            checkpoint: Mutex::new(checkpoint),
        }
    }

    /// Goes on from what an earlier attempt has left.
    pub(super) fn continue_from(&self, earlier: &PersistCheckpoint) {
        self.advance_to(earlier.upload.as_ref().map_or(0, |upload| upload.bytes));
        self.note(|checkpoint| {
            checkpoint.upload.clone_from(&earlier.upload);
            checkpoint.sent.clone_from(&earlier.sent);
            checkpoint.facts = earlier.facts;
        });
    }

    /// Notes that this many bytes are on their way.
    pub(super) fn advance_to(&self, bytes_done: u64) {
        self.bytes_done.store(bytes_done, Ordering::Relaxed);
    }

    /// Notes something for a later attempt. It gets there with the next heartbeat.
    pub(super) fn note(&self, change: impl FnOnce(&mut PersistCheckpoint)) {
        change(
            &mut self
                .checkpoint
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Notes something and returns when Temporal has it.
    pub(super) async fn record(
        &self,
        change: impl FnOnce(&mut PersistCheckpoint),
    ) -> Result<(), Failure> {
        self.note(change);
        match self.heartbeat {
            Some(heartbeat) => Ok(heartbeat.record(&self.checkpoint()).await?),
            None => Ok(()),
        }
    }

    /// Puts progress into the heartbeats, for ever.
    pub(super) async fn keep(&self) -> Failure {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(heartbeat) = self.heartbeat else {
                continue;
            };
            if let Err(error) = heartbeat.note(&self.checkpoint()).await {
                return error.into();
            }
        }
    }

    /// What a later attempt would find.
    pub(super) fn checkpoint(&self) -> PersistCheckpoint {
        let mut checkpoint = self
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        checkpoint.progress.bytes_done = self.bytes_done.load(Ordering::Relaxed);
        checkpoint
    }
}
