//! Job ids, and the S3 keys of a job's objects.

use std::str::FromStr;

use derive_more::Display;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{object_key::ObjectKey, schema::text};

/// Id of a job and of its workflow: a UUID in its hyphenated lower-case form.
#[derive(
    Clone, Copy, Debug, Deserialize, Display, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(try_from = "String")]
pub struct JobId(Uuid);

/// Validation error: the text is not a job id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a UUID such as 01932c07-209d-7cf0-8b2f-0d9e3cf9b6a1")]
pub struct InvalidJobId;

impl JobId {
    /// Key of the job's manifest.
    #[must_use]
    pub fn manifest_key(self) -> ObjectKey {
        ObjectKey::new(format!("{}job.json", self.prefix()))
    }

    /// Prefix of the keys of all objects of the job.
    #[must_use]
    pub fn prefix(self) -> String {
        format!("jobs/{self}/")
    }

    /// Key of an output. It depends only on the job and on the output's position and type, so that
    /// a retry of an upload overwrites nothing but itself.
    #[must_use]
    pub fn media_key(self, index: u32, extension: &str) -> ObjectKey {
        ObjectKey::new(format!("{}{extension}", self.media_prefix(index)))
    }

    /// Prefix of the keys that an output may have.
    #[must_use]
    pub fn media_prefix(self, index: u32) -> String {
        format!("{}{index}.", self.prefix())
    }

    /// Key of an output's preview in the bucket, beside the outputs.
    #[must_use]
    pub fn preview_key(self, index: u32, extension: &str) -> ObjectKey {
        ObjectKey::new(format!("{}previews/{index}.{extension}", self.prefix()))
    }
}

text!(
    JobId,
    pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
);

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let id = Self(Uuid::try_parse(text).map_err(|_| InvalidJobId)?);
        // A UUID may be written in several ways, and an id of a workflow is compared letter by
        // letter.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(InvalidJobId)
        }
    }
}

impl From<Uuid> for JobId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
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
