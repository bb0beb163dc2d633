//! Configuration of Worker Versioning: the build of this process, and its deployment.

use std::str::FromStr;

use anyhow::Result;

use crate::variables::{WORKER_BUILD_ID, WORKER_DEPLOYMENT};

/// Identity of a worker's code, for Worker Versioning.
/// <https://docs.temporal.io/production-deployment/worker-deployments/worker-versioning>
pub struct Build {
    /// The deployment whose current version receives tasks. Without one, the worker is unversioned
    /// and polls for any task.
    pub deployment: Option<DeploymentName>,
    /// Id of the build.
    pub id: BuildId,
}

/// Name of a worker deployment: 1 to 100 characters without `.` and `:`, as Temporal requires.
/// <https://docs.temporal.io/production-deployment/worker-deployments/worker-versioning>
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeploymentName(String);

/// Id of a build: 1 to 100 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuildId(String);

impl Build {
    pub(super) fn from_env() -> Result<Self> {
        Ok(Self {
            deployment: WORKER_DEPLOYMENT.optional()?,
            id: WORKER_BUILD_ID.or(BuildId(env!("CARGO_PKG_VERSION").to_owned()))?,
        })
    }
}

impl DeploymentName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeploymentName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BuildId::from_str(text)?;
        if text.contains(['.', ':']) {
            return Err("must be without . and :");
        }
        Ok(Self(text.to_owned()))
    }
}

impl BuildId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BuildId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("__") || text.len() > 100 || text.contains(char::is_whitespace) {
            return Err("must be up to 100 characters without spaces, and not begin with __");
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployment_names_parse() {
        assert!("darkroom".parse::<DeploymentName>().is_ok());
        for bad in ["a.b", "a:b", "__a", "a b"] {
            assert!(bad.parse::<DeploymentName>().is_err(), "{bad}");
        }
        assert!("0.1.0+3f2a9c1".parse::<BuildId>().is_ok());
    }
}
