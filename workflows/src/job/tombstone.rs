//! Tombstones: small objects, `tombstones/{job_id}`, that reserve the id of a job which was deleted
//! or terminated. A client that repeats the request of such a job gets that answer, and nothing is
//! paid for again.

use serde::{Deserialize, Serialize};

use super::{JobId, ObjectKey};

/// Prefix of the keys of tombstones.
pub const TOMBSTONES: &str = "tombstones/";

/// Size limit of a tombstone in bytes.
pub const TOMBSTONE_LIMIT: usize = 1024;

/// Reason that a job has no manifest any more, or never had one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Tombstone {
    /// Deletion of the job: whatever is still found of it is deleted as well.
    Deleted,
    /// Termination of the job from outside. It may be retried as long as Temporal has it.
    Terminated,
}

impl Tombstone {
    /// Reads a tombstone. Unreadable content counts as that of a terminated job, for which nothing
    /// is deleted.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or(Self::Terminated)
    }

    /// Returns the key of a job's tombstone.
    #[must_use]
    pub fn key(job_id: &JobId) -> ObjectKey {
        ObjectKey::new(format!("{TOMBSTONES}{job_id}"))
    }

    /// Returns the job whose tombstone has this key.
    #[must_use]
    pub fn job_of(key: &ObjectKey) -> Option<JobId> {
        key.as_str().strip_prefix(TOMBSTONES)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_read_back() {
        for tombstone in [Tombstone::Deleted, Tombstone::Terminated] {
            let bytes = serde_json::to_vec(&tombstone).unwrap();
            assert_eq!(Tombstone::read(&bytes), tombstone);
        }
        assert_eq!(Tombstone::read(b""), Tombstone::Terminated);
        let id: JobId = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1".parse().unwrap();
        assert_eq!(Tombstone::job_of(&Tombstone::key(&id)), Some(id));
    }
}
