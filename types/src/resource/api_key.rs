//! API keys as those who manage them see them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api_key::{KeyId, ModelPattern, Scope},
    request::KeyName,
    schema::example,
};

/// An API key, without what is secret of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("api_key.json")))]
pub struct ApiKey {
    /// Its id, which jobs and the log name it by.
    pub key_id: KeyId,
    /// What it is called.
    pub name: KeyName,
    /// What it is good for.
    pub scopes: BTreeSet<Scope>,
    /// Which models may be asked for with it; all if empty.
    pub models: Vec<ModelPattern>,
    /// When it was given out.
    pub created_at: Timestamp,
    /// Until when it is good; for ever if null.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute; null if it was not yet.
    pub last_used_at: Option<Timestamp>,
}

/// An API key as it is given out: once.
#[derive(Clone, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("created_api_key.json")))]
pub struct CreatedApiKey {
    /// The key itself: what to send as `Authorization: Bearer …`. It is kept nowhere.
    pub key: String,
    /// What it is good for.
    pub api_key: ApiKey,
}

/// The keys of a tenant.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example!("api_keys.json")))]
pub struct ApiKeys {
    /// Those that were given out over HTTP, in the order of their ids; 100 at most.
    pub keys: Vec<ApiKey>,
}
