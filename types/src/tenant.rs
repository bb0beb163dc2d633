//! Names of tenants.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::schema::text;

/// Name of the tenant that a job belongs to: 1 to 64 of `a-z`, `0-9`, `-` and `_`, beginning with a
/// letter or a digit. It is visible to operators.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(String);

/// Validation error: the text is not the name of a tenant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tenant's name is 1 to 64 of a-z, 0-9, - and _, and begins with a letter or a digit")]
pub struct InvalidTenant;

impl Tenant {
    const MAX: usize = 64;

    /// Name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text!(Tenant, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$");

impl FromStr for Tenant {
    type Err = InvalidTenant;

    fn from_str(text: &str) -> Result<Self, InvalidTenant> {
        let is_name = (1..=Self::MAX).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTenant)
        }
    }
}

impl TryFrom<String> for Tenant {
    type Error = InvalidTenant;

    fn try_from(text: String) -> Result<Self, InvalidTenant> {
        text.parse()
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_names_are_plain() {
        for name in ["acme", "team-7_b", &"a".repeat(64)] {
            assert!(name.parse::<Tenant>().is_ok(), "{name}");
        }
        for name in ["", "-", "_a", "Acme", "a b", "a'b", "é", &"a".repeat(65)] {
            assert_eq!(name.parse::<Tenant>(), Err(InvalidTenant), "{name}");
        }
    }
}
