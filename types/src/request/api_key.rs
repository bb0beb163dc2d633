//! Giving out an API key.

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

/// What a key is to be good for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(example = json!(example!("create_api_key.json")))]
pub struct CreateApiKey {
    /// What to call it.
    pub name: KeyName,
    /// What it is good for; reading and writing if absent.
    #[serde(default = "usual")]
    #[schema(default = json!(["read", "write"]))]
    pub scopes: BTreeSet<Scope>,
    /// Which models may be asked for with it: at most 50 names, or beginnings with `*` at their end; all if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 50)]
    pub models: Vec<ModelPattern>,
    /// Until when it is good; for ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whose key it is to be: your own tenant's if absent. An operator may name any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

fn usual() -> BTreeSet<Scope> {
    [Scope::Read, Scope::Write].into()
}

/// Whose keys to list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, PartialEq, Serialize)]
#[into_params(parameter_in = Query)]
pub struct ListApiKeys {
    /// Those of your own tenant if absent. An operator may name any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

/// What a key is called: 1 to 100 characters.
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
