//! A page of a list of jobs: what was asked for, the jobs on it, and the cursor of the next page.

use darkroom_types::job_id::JobId;
use darkroom_workflows::job::JobState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{found::FoundRun, past::IndexCursor};
use crate::visibility::Filter;

/// Key of a page in the cache.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ListQuery {
    pub(super) filter: Filter,
    pub(super) limit: u8,
    pub(super) cursor: Cursor,
}

/// Position at which a list resumes.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cursor {
    /// Among the jobs within Temporal's retention.
    Retained {
        /// Temporal's page token; empty for the first page.
        token: Vec<u8>,
        /// Last job before the position that has ended.
        last: Option<LastListed>,
    },
    /// Among the jobs beyond Temporal's retention.
    Past(IndexCursor),
}

impl Default for Cursor {
    fn default() -> Self {
        Self::Retained {
            token: Vec::new(),
            last: None,
        }
    }
}

/// Job after which the list continues with jobs that ended before it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) struct LastListed {
    pub(super) job_id: JobId,
    /// Time at which its run closed.
    pub(super) ended: Timestamp,
}

/// A page, and the cursor of the next one.
pub(super) struct ListPage {
    pub(super) jobs: Vec<ListedJob>,
    pub(super) next: Option<Cursor>,
}

/// Bytes that a page, a job or an output takes at least, about.
const EACH: usize = 1024;

impl ListPage {
    /// Returns about the bytes of memory that it takes.
    pub(super) fn size(&self) -> usize {
        EACH + self.jobs.iter().map(ListedJob::size).sum::<usize>()
    }
}

/// A job of a page.
pub(super) enum ListedJob {
    /// Run from Temporal's visibility store.
    Retained(FoundRun),
    /// State from the job's manifest.
    Past(Box<JobState>),
}

impl ListedJob {
    pub(super) fn job_id(&self) -> &JobId {
        match self {
            Self::Retained(found) => &found.job_id,
            Self::Past(job) => &job.job_id,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Retained(_) => EACH,
            Self::Past(job) => {
                let prompt = job.request.prompt.as_ref();
                EACH * (1 + job.media.len()) + prompt.map_or(0, |prompt| prompt.as_str().len())
            }
        }
    }
}
