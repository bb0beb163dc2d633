//! The index of jobs in the bucket: an empty object for each job that has ended, by which jobs are found that Temporal has
//! forgotten. Its keys are `index/{tenant}/{day}/{job_id}`, with `-` for no tenant and the day on which the job was accepted.

use std::str::FromStr;

use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{JobId, JobState};
use crate::tenant::Tenant;

/// What the keys of the index begin with.
pub const INDEX: &str = "index/";

/// Stands for no tenant: none is called so.
const NOBODY: &str = "-";

/// A job by its place in the index.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct IndexEntry {
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The day on which it was accepted, in UTC.
    pub day: Date,
    /// The job.
    pub job_id: JobId,
}

/// The text is no key of the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be index/{{tenant}}/{{day}}/{{job_id}}")]
pub struct InvalidIndexKey;

impl IndexEntry {
    /// The place of a job.
    #[must_use]
    pub fn of(job: &JobState) -> Self {
        Self {
            tenant: job.tenant.clone(),
            day: job.created_at.to_zoned(TimeZone::UTC).date(),
            job_id: job.job_id.clone(),
        }
    }

    /// What the keys of a tenant's jobs begin with.
    #[must_use]
    pub fn prefix(tenant: Option<&Tenant>) -> String {
        format!("{INDEX}{}/", tenant.map_or(NOBODY, Tenant::as_str))
    }

    /// What the keys of a tenant's jobs begin with that were accepted on a day.
    #[must_use]
    pub fn prefix_of_day(tenant: Option<&Tenant>, day: Date) -> String {
        format!("{}{day}/", Self::prefix(tenant))
    }

    /// Its key in the bucket, below any configured prefix.
    #[must_use]
    pub fn key(&self) -> String {
        let Self {
            tenant,
            day,
            job_id,
        } = self;
        format!("{}{job_id}", Self::prefix_of_day(tenant.as_ref(), *day))
    }
}

impl FromStr for IndexEntry {
    type Err = InvalidIndexKey;

    fn from_str(key: &str) -> Result<Self, InvalidIndexKey> {
        let mut parts = key.strip_prefix(INDEX).ok_or(InvalidIndexKey)?.split('/');
        let (Some(tenant), Some(day), Some(job_id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidIndexKey);
        };
        let tenant = match tenant {
            NOBODY => None,
            tenant => Some(tenant.parse().map_err(|_| InvalidIndexKey)?),
        };
        Ok(Self {
            tenant,
            day: day.parse().map_err(|_| InvalidIndexKey)?,
            job_id: job_id.parse().map_err(|_| InvalidIndexKey)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        let id = "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1";
        for key in [
            format!("index/-/2026-11-24/{id}"),
            format!("index/acme/2026-11-24/{id}"),
        ] {
            assert_eq!(key.parse::<IndexEntry>().map(|entry| entry.key()), Ok(key));
        }
        for key in [
            "",
            "index/-/2026-11-24/x",
            &format!("index/2026-11-24/{id}"),
            &format!("index/-/today/{id}"),
            &format!("index/-/2026-11-24/{id}/1"),
            &format!("jobs/-/2026-11-24/{id}"),
        ] {
            assert_eq!(key.parse::<IndexEntry>(), Err(InvalidIndexKey), "{key}");
        }
    }
}
