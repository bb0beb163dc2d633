//! Index of jobs in the bucket: an empty object for each job that has ended, by which jobs are
//! found after Temporal's retention period. Its keys are `index/{tenant}/{day}/{job_id}`, with `-`
//! for no tenant and the day on which the job was accepted.

use std::str::FromStr;

use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{JobId, JobState, ObjectKey};
use crate::tenant::Tenant;

/// Prefix of the keys of the index.
pub const INDEX: &str = "index/";

/// Placeholder for no tenant; no tenant has this name.
const NO_TENANT: &str = "-";

/// Entry of a job in the index.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct IndexEntry {
    /// Tenant of the job; absent if callers have no API keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Day on which the job was accepted, in UTC.
    pub day: Date,
    /// The job.
    pub job_id: JobId,
}

/// Error: the text is not a key of the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be index/{{tenant}}/{{day}}/{{job_id}}")]
pub struct InvalidIndexKey;

impl IndexEntry {
    /// Returns the entry of a job.
    #[must_use]
    pub fn of(job: &JobState) -> Self {
        Self {
            tenant: job.tenant.clone(),
            day: job.created_at.to_zoned(TimeZone::UTC).date(),
            job_id: job.job_id,
        }
    }

    /// Returns the prefix of the keys of a tenant's jobs.
    #[must_use]
    pub fn prefix(tenant: Option<&Tenant>) -> String {
        format!("{INDEX}{}/", tenant.map_or(NO_TENANT, Tenant::as_str))
    }

    /// Returns the prefix of the keys of a tenant's jobs that were accepted on a day.
    #[must_use]
    pub fn prefix_of_day(tenant: Option<&Tenant>, day: Date) -> String {
        format!("{}{day}/", Self::prefix(tenant))
    }

    /// Returns the key of the entry.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let Self {
            tenant,
            day,
            job_id,
        } = self;
        let prefix = Self::prefix_of_day(tenant.as_ref(), *day);
        ObjectKey::new(format!("{prefix}{job_id}"))
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
            NO_TENANT => None,
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
            let entry: IndexEntry = key.parse().unwrap();
            assert_eq!(entry.key().as_str(), key);
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
