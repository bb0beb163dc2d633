//! The object of an API key in the store, `keys/{tenant}/{digits}.json`, and the object of its last
//! use beside it. They are read and written in `stored`.

use std::collections::BTreeSet;

use darkroom_types::{
    api_key::{KeyId, ModelPattern, Scope},
    object_key::ObjectKey,
    request::KeyName,
    resource::ApiKey,
    sha256::Sha256,
    tenant::Tenant,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Content of a key's object.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StoredKey {
    pub(crate) key_id: KeyId,
    pub(crate) name: KeyName,
    pub(crate) scopes: BTreeSet<Scope>,
    #[serde(default)]
    pub(crate) models: Vec<ModelPattern>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    sha256: Sha256,
}

/// Time of a key's last use. It has its own object, so that a record of it cannot restore a revoked
/// key.
#[derive(Deserialize, Serialize)]
pub(super) struct LastUse {
    pub(super) at: Timestamp,
}

impl StoredKey {
    /// Generates a key. Returns it with its text, which is not stored.
    pub(crate) fn generate(
        key_id: KeyId,
        name: KeyName,
        scopes: BTreeSet<Scope>,
        models: Vec<ModelPattern>,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> (Self, String) {
        // 244 random bits from the system.
        let [first, second] = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::simple);
        let text = format!("dk_{key_id}.{first}{second}");
        let key = Self {
            sha256: digest(&text),
            key_id,
            name,
            scopes,
            models,
            created_at,
            expires_at,
        };
        (key, text)
    }

    /// Returns the key without its digest.
    pub(crate) fn resource(&self, last_used_at: Option<Timestamp>) -> ApiKey {
        ApiKey {
            key_id: self.key_id.clone(),
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            models: self.models.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at,
        }
    }

    pub(super) fn is_good(&self, text: &str, now: Timestamp) -> bool {
        let is_it = bool::from(digest(text).as_bytes().ct_eq(self.sha256.as_bytes()));
        is_it && !self.has_expired(now)
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Parses the id of a key out of its text.
pub(super) fn id_of(text: &str) -> Option<KeyId> {
    let (id, _secret) = text.strip_prefix("dk_")?.rsplit_once('.')?;
    id.parse().ok()
}

pub(super) fn prefix(tenant: &Tenant) -> String {
    format!("keys/{tenant}/")
}

pub(super) fn object_key(id: &KeyId) -> ObjectKey {
    ObjectKey::new(format!("{}{}.json", prefix(id.tenant()), id.digits()))
}

pub(super) fn last_use_key(id: &KeyId) -> ObjectKey {
    ObjectKey::new(format!("{}{}.used.json", prefix(id.tenant()), id.digits()))
}

fn digest(text: &str) -> Sha256 {
    <[u8; 32]>::from(sha2::Sha256::digest(text)).into()
}
