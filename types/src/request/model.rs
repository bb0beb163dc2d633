//! Names of models.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Invalid, schema::text};

/// Name of a model: `owner/name` or `owner/name:version`, each part 1 to 64 of `A-Z a-z 0-9 . _ -`;
/// a version alone, 64 of `0-9 a-f`; or the caller's own deployment at the provider,
/// `deployments/owner/name`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Model(Name);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Name {
    /// Path `owner/name`, with the version if one is pinned.
    Model { path: String },
    /// Version alone, which identifies its model.
    Version { id: String },
    /// Deployment `owner/name`.
    Deployment { owner: String, name: String },
}

impl Model {
    const MAX_PART: usize = 64;

    /// Owner and name of the deployment, if it is one.
    #[must_use]
    pub fn deployment(&self) -> Option<(&str, &str)> {
        match &self.0 {
            Name::Deployment { owner, name } => Some((owner, name)),
            Name::Model { .. } | Name::Version { .. } => None,
        }
    }
}

text!(
    Model,
    pattern = "^([0-9a-f]{64}|(deployments/)?[A-Za-z0-9._-]{1,64}/[A-Za-z0-9._-]{1,64}(:[A-Za-z0-9._-]{1,64})?)$"
);

impl TryFrom<String> for Model {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid(format!(
                "must be \"owner/name\", \"owner/name:version\", a version of 64 hexadecimal digits or \"deployments/owner/name\", \
                 each part 1 to {} of A-Z a-z 0-9 . _ -",
                Self::MAX_PART
            ))
        };
        let is_part = |part: &str| {
            (1..=Self::MAX_PART).contains(&part.len())
                && ![".", ".."].contains(&part)
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let is_version = text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_version {
            return Ok(Self(Name::Version { id: text }));
        }
        let deployment = text.strip_prefix("deployments/");
        if let Some((owner, name)) = deployment.and_then(|path| path.split_once('/')) {
            if !is_part(owner) || !is_part(name) {
                return Err(invalid());
            }
            let (owner, name) = (owner.to_owned(), name.to_owned());
            return Ok(Self(Name::Deployment { owner, name }));
        }
        let (path, version) = match text.split_once(':') {
            Some((path, version)) => (path, Some(version)),
            None => (text.as_str(), None),
        };
        let (owner, name) = path.split_once('/').ok_or_else(invalid)?;
        if is_part(owner) && is_part(name) && version.is_none_or(is_part) {
            Ok(Self(Name::Model { path: text }))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Model { path } => formatter.write_str(path),
            Name::Version { id } => formatter.write_str(id),
            Name::Deployment { owner, name } => write!(formatter, "deployments/{owner}/{name}"),
        }
    }
}

impl FromStr for Model {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.to_owned().try_into()
    }
}

impl From<Model> for String {
    fn from(model: Model) -> Self {
        model.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        let version = "0123456789abcdef".repeat(4);
        for (name, is_deployment) in [
            (version.as_str(), false),
            ("acme/photo", false),
            ("acme/photo:v1", false),
            ("deployments/acme/app", true),
            ("deployments/photo", false),
        ] {
            let model = Model::try_from(name.to_owned()).unwrap();
            assert_eq!(
                (model.to_string().as_str(), model.deployment().is_some()),
                (name, is_deployment)
            );
        }
        for name in [
            "deployments/acme/app:v1",
            "a/b/c",
            "deployments//app",
            "../photo",
            "acme/..",
        ] {
            assert!(Model::try_from(name.to_owned()).is_err(), "{name}");
        }
    }
}
