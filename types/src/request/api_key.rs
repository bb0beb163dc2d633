//! Requests that create and list API keys.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Invalid,
    api_key::{ModelPattern, Scope},
    schema::{example, text},
    tenant::Tenant,
};

/// Request for a new API key.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(example = json!(example!("create_api_key.json")))]
pub struct CreateApiKey {
    /// Name of the key, for people.
    pub name: KeyName,
    /// Scopes of the key; `read` and `write` if absent.
    #[serde(default = "usual")]
    #[schema(default = json!(["read", "write"]))]
    pub scopes: BTreeSet<Scope>,
    /// Models that the key may request: at most 50 exact names, or prefixes followed by `*`. All
    /// models if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub models: Vec<ModelPattern>,
    /// Expiry of the key; it never expires if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Tenant that the key is for; your own if absent. Only an operator may name another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

fn usual() -> BTreeSet<Scope> {
    [Scope::Read, Scope::Write].into()
}

/// Query parameters of the list of API keys.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, PartialEq, Serialize)]
#[into_params(parameter_in = Query)]
pub struct ListApiKeys {
    /// Tenant whose keys are listed; your own if absent. Only an operator may name another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

/// Name of an API key: 1 to 100 characters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

text!(KeyName, min_length = 1, max_length = Self::MAX);

impl KeyName {
    const MAX: usize = 100;
}

impl TryFrom<String> for KeyName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if !text.trim().is_empty() && text.chars().count() <= Self::MAX {
            Ok(Self(text))
        } else {
            Err(Invalid(format!("must have 1 to {} characters", Self::MAX)))
        }
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}
