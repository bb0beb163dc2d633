//! The name of a model.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A model's name: `owner/name` or `owner/name:version`, each part 1 to 64 of `A-Z a-z 0-9 . _ -`; or the name of a
/// deployment of one's own at the provider, `deployments/owner/name`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Model {
    is_deployment: bool,
    owner: String,
    name: String,
    version: Option<String>,
}

impl Model {
    const MAX_PART: usize = 64;

    /// Whether it names a deployment.
    #[must_use]
    pub fn is_deployment(&self) -> bool {
        self.is_deployment
    }

    /// Who publishes the model.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The model's name among its owner's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pinned version, if any.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

impl TryFrom<String> for Model {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid(format!(
                "must be \"owner/name\", \"owner/name:version\" or \"deployments/owner/name\", each part 1 to {} of A-Z a-z 0-9 . _ -",
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
        let deployment = text
            .strip_prefix("deployments/")
            .filter(|path| path.contains('/'));
        let (path, version) = match text.split_once(':') {
            _ if deployment.is_some() => (deployment.unwrap_or_default(), None),
            Some((path, version)) => (path, Some(version)),
            None => (text.as_str(), None),
        };
        let (owner, name) = path.split_once('/').ok_or_else(invalid)?;
        if is_part(owner) && is_part(name) && version.is_none_or(is_part) {
            Ok(Self {
                is_deployment: deployment.is_some(),
                owner: owner.to_owned(),
                name: name.to_owned(),
                version: version.map(str::to_owned),
            })
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.is_deployment {
            "deployments/"
        } else {
            ""
        };
        write!(formatter, "{prefix}{}/{}", self.owner, self.name)?;
        match &self.version {
            Some(version) => write!(formatter, ":{version}"),
            None => Ok(()),
        }
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
        for (name, is_deployment) in [
            ("acme/photo", false),
            ("acme/photo:v1", false),
            ("deployments/acme/app", true),
            ("deployments/photo", false),
        ] {
            let model = Model::try_from(name.to_owned()).unwrap();
            assert_eq!(
                (model.to_string().as_str(), model.is_deployment()),
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
