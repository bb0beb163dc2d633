//! Checkpoints of `persist` in the heartbeat details, for the next attempt: progress, the multipart
//! upload under way, and the object that was sent as a whole. Where there is no next attempt, as in
//! a benchmark, they are not sent.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use darkroom_storage::{Upload, UploadedObject, UploadedPart, digest::Digest};
use darkroom_temporal::heartbeat::Heartbeat;
use darkroom_workflows::{
    contract::persist::PersistProgress,
    job::{MediaFacts, ObjectKey},
};
use serde::{Deserialize, Serialize};

use super::{inspector::Inspector, source::Validator};
use crate::failure::Failure;

/// Interval between two updates of the heartbeat details.
const INTERVAL: Duration = Duration::from_secs(1);

/// Checkpoint of an attempt.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct PersistCheckpoint {
    #[serde(flatten)]
    pub(super) progress: PersistProgress,
    /// The multipart upload that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload: Option<UploadCheckpoint>,
    /// The object that was sent as a whole: if it is in the store, the work is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sent: Option<UploadedObject>,
    /// Facts seen in that object.
    #[serde(default)]
    pub(super) facts: MediaFacts,
}

/// A multipart upload, with the state that is needed to resume it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct UploadCheckpoint {
    pub(super) s3_key: ObjectKey,
    pub(super) content_type: String,
    pub(super) upload_id: String,
    /// Validator by which the source shows that it is still the same file. Without one, the upload
    /// cannot be resumed.
    pub(super) validator: Option<Validator>,
    pub(super) parts: Vec<UploadedPart>,
    /// Size of each part but the last, in bytes: some stores require that they are alike.
    #[serde(default)]
    pub(super) part_size: u64,
    /// Length of the parts, in bytes.
    pub(super) bytes: u64,
    /// State of the digest after the parts.
    pub(super) digest: String,
    /// State of the inspection after the parts.
    #[serde(default)]
    pub(super) inspector: Inspector,
}

impl PersistCheckpoint {
    /// Returns true if all parts of the upload were sent.
    pub(super) fn is_all_sent(&self) -> bool {
        let (Some(upload), Some(sent)) = (&self.upload, &self.sent) else {
            return false;
        };
        upload.bytes == sent.size && upload.s3_key == sent.s3_key
    }
}

impl UploadCheckpoint {
    /// Returns the upload as the store identifies it.
    pub(super) fn upload(&self) -> Upload {
        Upload {
            key: self.s3_key.clone(),
            id: self.upload_id.clone(),
        }
    }

    /// Returns true if the rest of the same file can be requested, and appended to the parts.
    pub(super) fn is_resumable(&self) -> bool {
        self.validator.is_some()
            && self.bytes > 0
            && self.part_size > 0
            && Digest::restore(&self.digest, self.bytes).is_some()
    }
}

/// Recorder of an attempt's checkpoint.
pub struct CheckpointRecorder<'a> {
    heartbeat: Option<&'a Heartbeat>,
    bytes_done: AtomicU64,
    checkpoint: Mutex<PersistCheckpoint>,
}

impl<'a> CheckpointRecorder<'a> {
    pub(super) fn new(index: u32, heartbeat: &'a Heartbeat) -> Self {
        Self {
            heartbeat: Some(heartbeat),
            ..Self::without_heartbeat(index)
        }
    }

    /// Creates a recorder that sends no heartbeats.
    #[must_use]
    pub fn without_heartbeat(index: u32) -> Self {
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

    /// Starts from the checkpoint of an earlier attempt.
    pub(super) fn continue_from(&self, earlier: &PersistCheckpoint) {
        self.advance_to(earlier.upload.as_ref().map_or(0, |upload| upload.bytes));
        self.note(|checkpoint| {
            checkpoint.upload.clone_from(&earlier.upload);
            checkpoint.sent.clone_from(&earlier.sent);
            checkpoint.facts = earlier.facts;
        });
    }

    /// Sets the number of bytes that are stored or on their way.
    pub(super) fn advance_to(&self, bytes_done: u64) {
        self.bytes_done.store(bytes_done, Ordering::Relaxed);
    }

    /// Changes the checkpoint. The next heartbeat sends it.
    pub(super) fn note(&self, change: impl FnOnce(&mut PersistCheckpoint)) {
        change(
            &mut self
                .checkpoint
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Changes the checkpoint and waits until Temporal has acknowledged it.
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

    /// Updates the heartbeat details at intervals, for ever. Returns only the failure to do so.
    pub(super) async fn send_at_intervals(&self) -> Failure {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(heartbeat) = self.heartbeat else {
                continue;
            };
            if let Err(error) = heartbeat.note(&self.checkpoint()) {
                return error.into();
            }
        }
    }

    /// Returns the checkpoint as a later attempt would find it.
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
