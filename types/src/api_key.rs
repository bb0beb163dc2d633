//! API keys: ids, scopes and model patterns. The API key as a resource is in [`crate::resource`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Invalid, request::Model, schema::text, tenant::Tenant};

/// Id of an API key: the tenant, a dot, and 8 to 32 lower-case hexadecimal digits. It is not
/// secret.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId {
    tenant: Tenant,
    digits: String,
}

text!(
    KeyId,
    pattern = "^[a-z0-9][a-z0-9_-]{0,63}\\.[0-9a-f]{8,32}$"
);

impl KeyId {
    /// Builds the id of a tenant's key.
    ///
    /// # Errors
    /// If `digits` is not 8 to 32 lower-case hexadecimal digits.
    pub fn new(tenant: Tenant, digits: impl Into<String>) -> Result<Self, Invalid> {
        let digits = digits.into();
        let is_id = (8..=32).contains(&digits.len())
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_id {
            Ok(Self { tenant, digits })
        } else {
            Err(Invalid("must be tenant.0123abcd".to_owned()))
        }
    }

    /// Tenant that the key belongs to.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Digits after the dot, which distinguish the keys of the tenant.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.digits
    }
}

impl FromStr for KeyId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid("must be tenant.0123abcd".to_owned());
        let (tenant, digits) = text.split_once('.').ok_or_else(invalid)?;
        Self::new(tenant.parse().map_err(|_| invalid())?, digits)
    }
}

impl TryFrom<String> for KeyId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.tenant, self.digits)
    }
}

/// Permission of an API key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reading, listing and following jobs and outputs.
    Read,
    /// Creating, canceling, retrying and deleting jobs.
    Write,
    /// Managing the keys of the tenant.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// Pattern of model names: one exact name, or a prefix followed by `*`, such as `acme/*`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelPattern(String);

text!(ModelPattern, min_length = 1, max_length = Self::MAX);

impl ModelPattern {
    const MAX: usize = 256;

    /// Returns true if the model's name matches the pattern.
    #[must_use]
    pub fn matches(&self, model: &Model) -> bool {
        let name = model.to_string();
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}

impl TryFrom<String> for ModelPattern {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
        let name = text.strip_suffix('*').unwrap_or(&text);
        if (1..=Self::MAX).contains(&text.len()) && name.bytes().all(is_plain) {
            Ok(Self(text))
        } else {
            let rule = "must be the name of a model, or a prefix of one followed by *";
            Err(Invalid(rule.to_owned()))
        }
    }
}

impl From<ModelPattern> for String {
    fn from(pattern: ModelPattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_tenant() {
        let id: KeyId = "team-7_b.0123456789abcdef".parse().unwrap();
        assert_eq!(id.tenant().as_str(), "team-7_b");
        assert_eq!(id.to_string(), "team-7_b.0123456789abcdef");
        for text in [
            "acme",
            "acme.",
            "acme.0123",
            "Acme.01234567",
            "acme.0123456g",
            "../x.01234567",
        ] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        let matches = |pattern: &str, model: &str| {
            let pattern = ModelPattern::try_from(pattern.to_owned()).unwrap();
            pattern.matches(&Model::try_from(model.to_owned()).unwrap())
        };
        assert!(matches("acme/photo", "acme/photo"));
        assert!(!matches("acme/photo", "acme/photo:v1"));
        assert!(matches("acme/photo*", "acme/photo:v1"));
        assert!(matches("acme/*", "acme/video"));
        assert!(!matches("acme/*", "acmes/video"));
        assert!(matches("*", "acme/video"));
        for text in ["", "a*b", "a b", "**"] {
            assert!(ModelPattern::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
