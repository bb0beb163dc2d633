//! Tombstones: small objects, `tombstones/{job_id}`, that say of a job's id that it is not to be used again, so that whoever
//! repeats the request of such a job is told so, and nothing is paid for again.

use serde::{Deserialize, Serialize};

use super::JobId;

/// What the keys of tombstones begin with.
pub const TOMBSTONES: &str = "tombstones/";

/// The longest that a tombstone may be, in bytes.
pub const TOMBSTONE_LIMIT: usize = 1024;

/// Why a job has no manifest any more, or never had one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Tombstone {
    /// It was deleted: whatever is found of it goes as well.
    Deleted,
    /// It was ended from outside. As long as Temporal knows it, it may be taken up again.
    Terminated,
}

impl Tombstone {
    /// Reads one. What makes no sense is taken for that of a job that was terminated: nothing is removed for it.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or(Self::Terminated)
    }

    /// Where that of a job lies, below any configured prefix.
    #[must_use]
    pub fn key(job_id: &JobId) -> String {
        format!("{TOMBSTONES}{job_id}")
    }

    /// The job whose tombstone has this key.
    #[must_use]
    pub fn job_of(key: &str) -> Option<JobId> {
        key.strip_prefix(TOMBSTONES)?.parse().ok()
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
