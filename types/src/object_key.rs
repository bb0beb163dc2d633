//! Keys of objects in the bucket.

use derive_more::Display;
use serde::{Deserialize, Serialize};

use crate::schema::text;

/// Key of an object in the bucket, below any configured prefix of all keys.
#[derive(Clone, Debug, Deserialize, Display, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Names a key.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Returns it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text!(ObjectKey);
