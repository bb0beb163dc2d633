//! Job ids, and the S3 keys of a job's objects.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::schema::text;

/// Id of a job and of its workflow: a UUID in its hyphenated lower-case form.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// Validation error: the text is not a job id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a UUID such as 01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1")]
pub struct InvalidJobId;

impl JobId {
    /// Id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Key of the job's manifest in the bucket, below any configured prefix.
    #[must_use]
    pub fn manifest_key(&self) -> String {
        format!("{}job.json", self.prefix())
    }

    /// Prefix of the keys of all objects of the job.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("jobs/{self}/")
    }

    /// Key of an output in the bucket, below any configured prefix. It depends only on the job and
    /// on the output's position and type, so that a retry of an upload overwrites nothing but
    /// itself.
    #[must_use]
    pub fn media_key(&self, index: u32, extension: &str) -> String {
        format!("{}{index}.{extension}", self.prefix())
    }

    /// Key of an output's preview in the bucket, beside the outputs.
    #[must_use]
    pub fn preview_key(&self, index: u32, extension: &str) -> String {
        format!("{}previews/{index}.{extension}", self.prefix())
    }
}

text!(
    JobId,
    pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
);

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let hyphens = [8, 13, 18, 23];
        let is_uuid = text.len() == 36
            && text.bytes().enumerate().all(|(position, byte)| {
                if hyphens.contains(&position) {
                    byte == b'-'
                } else {
                    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
                }
            });
        if is_uuid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidJobId)
        }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_hyphenated_uuids_are_job_ids() {
        assert!(
            "01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1"
                .parse::<JobId>()
                .is_ok()
        );
        for text in [
            "",
            "x",
            "01932C07-209D-7CF0-8B2F-0D9E3CF9B6A1",
            "../../../../../../../../../../etc/pa",
            "01932c07209d7cf08b2f0d9e3cf9b6a1",
        ] {
            assert_eq!(text.parse::<JobId>(), Err(InvalidJobId), "{text}");
        }
    }
}
