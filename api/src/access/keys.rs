//! API keys that the operator lists: only their SHA-256, each with its tenant and with the keys
//! that it may manage.

use std::str::FromStr;

use darkroom_types::{api_key::KeyId, sha256::Sha256, tenant::Tenant};
use sha2::Digest;
use subtle::ConstantTimeEq;

/// List of `tenant:sha256hex`, separated by commas, with `:admin` or `:operator` after keys that
/// manage keys. A tenant may have several keys, so that they can be rotated.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(Vec<ApiKey>);

/// Listed API key.
#[derive(Clone, Debug)]
pub(super) struct ApiKey {
    pub(super) tenant: Tenant,
    pub(super) role: Role,
    sha256: Sha256,
}

/// Keys that a key may manage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// None.
    Caller,
    /// Those of its tenant.
    Admin,
    /// Those of all tenants.
    Operator,
}

impl ApiKey {
    /// Returns the id that jobs and the log name the key by.
    pub(super) fn id(&self) -> Option<KeyId> {
        KeyId::new(
            self.tenant.clone(),
            hex::encode(&self.sha256.as_bytes()[..4]),
        )
        .ok()
    }
}

impl ApiKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds a key by its text, in constant time: it takes as long whichever key matches, or none.
    pub(super) fn find(&self, key: &str) -> Option<&ApiKey> {
        let sha256 = sha2::Sha256::digest(key.as_bytes());
        let mut found = None;
        for candidate in &self.0 {
            if bool::from(candidate.sha256.as_bytes().ct_eq(&sha256[..])) {
                found = Some(candidate);
            }
        }
        found
    }
}

impl FromStr for ApiKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|entry| entry.trim().parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for ApiKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be tenant:sha256hex, separated by commas, with :admin or :operator after keys that manage keys";
        let (tenant, digest) = text.split_once(':').ok_or(FORM)?;
        let (digest, role) = match digest.split_once(':') {
            None => (digest, Role::Caller),
            Some((digest, "admin")) => (digest, Role::Admin),
            Some((digest, "operator")) => (digest, Role::Operator),
            Some(_) => return Err(FORM.to_owned()),
        };
        let tenant = tenant
            .parse()
            .map_err(|error| format!("{tenant:?}: {error}"))?;
        let sha256 = digest.parse().map_err(|error| {
            format!("the key of {tenant} is given by its SHA-256, which {error}")
        })?;
        Ok(Self {
            tenant,
            role,
            sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tenant: &str, key: &str) -> String {
        format!("{tenant}:{}", hex::encode(sha2::Sha256::digest(key)))
    }

    #[test]
    fn a_key_identifies_its_tenant() {
        let keys: ApiKeys = [
            entry("acme", "one"),
            entry("other", "two"),
            format!("{}:admin", entry("acme", "three")),
        ]
        .join(", ")
        .parse()
        .unwrap();
        let tenant = |key| keys.find(key).map(|key| key.tenant.as_str());
        assert_eq!(tenant("one"), Some("acme"));
        assert_eq!(tenant("two"), Some("other"));
        assert_eq!(tenant("three"), Some("acme"));
        let role = |key| keys.find(key).map(|key| key.role);
        assert_eq!(
            (role("one"), role("three")),
            (Some(Role::Caller), Some(Role::Admin))
        );
        assert_eq!(tenant(""), None);
        assert_eq!(
            tenant(&hex::encode(sha2::Sha256::digest("one"))),
            None,
            "the listed digest is not a key"
        );
    }

    #[test]
    fn invalid_lists_of_keys_are_refused() {
        for text in [
            "acme",
            "acme:",
            "acme:abc",
            "Acme:00",
            &format!("{},", entry("acme", "one")),
            &format!("{}:boss", entry("acme", "one")),
        ] {
            assert!(text.parse::<ApiKeys>().is_err(), "{text}");
        }
    }
}
