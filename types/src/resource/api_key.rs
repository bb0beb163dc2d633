//! API keys, as their administrators see them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api_key::{KeyId, ModelPattern, Scope},
    request::KeyName,
    schema::example,
};

/// API key, without its secret.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("api_key.json")))]
pub struct ApiKey {
    /// Id of the key, which jobs and the log refer to.
    pub key_id: KeyId,
    /// Name of the key.
    pub name: KeyName,
    /// Scopes of the key.
    pub scopes: BTreeSet<Scope>,
    /// Models that the key may request: exact names, or prefixes followed by `*`; all models if
    /// empty.
    pub models: Vec<ModelPattern>,
    /// Time of the key's creation.
    pub created_at: Timestamp,
    /// Expiry of the key; it never expires if null.
    pub expires_at: Option<Timestamp>,
    /// Time of the last use, to the minute; null if the key has not been used yet.
    pub last_used_at: Option<Timestamp>,
}

/// New API key. No other response contains its secret.
#[derive(Clone, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("created_api_key.json")))]
pub struct CreatedApiKey {
    /// Key to send as `Authorization: Bearer …`. It is not stored, and cannot be read again.
    pub key: String,
    /// Id, scopes and other properties of the key.
    pub api_key: ApiKey,
}

/// API keys of a tenant.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("api_keys.json")))]
pub struct ApiKeys {
    /// Keys that were created over HTTP, ordered by id; at most 100.
    pub keys: Vec<ApiKey>,
}
