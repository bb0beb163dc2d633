//! Free-form fields of a request, passed on unchanged: model inputs and metadata. Their limits keep
//! workflow histories small.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type},
    },
};

use crate::Invalid;

/// Inputs of the model beside the named fields. They take at most 256 KiB as JSON, so that workflow
/// histories stay small. They are nested at most 32 levels, as they are embedded in documents that
/// must not exceed the JSON parser's own limit. Inputs that have a field of their own are rejected.
///
/// They are kept as JSON text, which clones share: as values, an array of zeros takes sixteen times
/// the memory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ModelInput(Option<Arc<str>>);

/// Inputs that have a field of their own in a request.
const NAMED: [&str; 4] = ["prompt", "num_outputs", "seed", "output_format"];

impl ModelInput {
    const MAX_BYTES: usize = 256 * 1024;
    const MAX_DEPTH: usize = 32;

    /// Inputs by name.
    ///
    /// # Panics
    /// Never: the text was written from a map.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the text was written from a map")]
    pub fn to_map(&self) -> Map<String, Value> {
        let text = self.0.as_deref().unwrap_or("{}");
        serde_json::from_str(text).expect("JSON of a map")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Serialize for ModelInput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Not embedded as `RawValue`: with its feature, an object with a certain key is parsed as
        // JSON within JSON everywhere, and callers choose the keys.
        self.to_map().serialize(serializer)
    }
}

impl PartialSchema for ModelInput {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object));
        object
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .into()
    }
}

impl ToSchema for ModelInput {}

impl TryFrom<Map<String, Value>> for ModelInput {
    type Error = Invalid;

    fn try_from(map: Map<String, Value>) -> Result<Self, Invalid> {
        if map.values().any(|value| is_deeper(value, Self::MAX_DEPTH)) {
            return Err(Invalid(format!(
                "must be nested at most {} times",
                Self::MAX_DEPTH
            )));
        }
        if map.is_empty() {
            return Ok(Self(None));
        }
        let text = Value::Object(map).to_string();
        if text.len() > Self::MAX_BYTES {
            return Err(Invalid(format!(
                "must take at most {} bytes as JSON, not {}",
                Self::MAX_BYTES,
                text.len()
            )));
        }
        Ok(Self(Some(text.into())))
    }
}

impl<'de> Deserialize<'de> for ModelInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Map<String, Value>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut map = Map::new();
                while let Some(name) = entries.next_key::<String>()? {
                    let value = if NAMED.contains(&name.as_str()) {
                        entries.next_value_seed(Misplaced)?
                    } else {
                        entries.next_value()?
                    };
                    map.insert(name, value);
                }
                Ok(map)
            }
        }

        let map = deserializer.deserialize_map(Entries)?;
        Self::try_from(map).map_err(D::Error::custom)
    }
}

/// Seed that rejects an input which has a field of its own, so that the error points to its place.
struct Misplaced;

impl<'de> DeserializeSeed<'de> for Misplaced {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<Value, D::Error> {
        Err(D::Error::custom(
            "has a field of its own: put it beside input, not in it",
        ))
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(values) => {
            levels == 0 || values.iter().any(|value| is_deeper(value, levels - 1))
        }
        Value::Object(map) => levels == 0 || map.values().any(|value| is_deeper(value, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

impl From<ModelInput> for Map<String, Value> {
    fn from(input: ModelInput) -> Self {
        input.to_map()
    }
}

/// Labels of the caller: at most 50, with keys of 1 to 40 characters and values of at most 500
/// characters.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    const MAX_ENTRIES: usize = 50;
    const MAX_KEY: usize = 40;
    const MAX_VALUE: usize = 500;

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialSchema for Metadata {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object));
        object
            .max_properties(Some(Self::MAX_ENTRIES))
            .additional_properties(Some(String::schema()))
            .into()
    }
}

impl ToSchema for Metadata {}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = Invalid;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, Invalid> {
        let fits = |(key, value): (&String, &String)| {
            (1..=Self::MAX_KEY).contains(&key.chars().count())
                && value.chars().count() <= Self::MAX_VALUE
        };
        if map.len() <= Self::MAX_ENTRIES && map.iter().all(fits) {
            return Ok(Self(map));
        }
        Err(Invalid(format!(
            "must have at most {} entries, keys of 1 to {} and values of at most {} characters",
            Self::MAX_ENTRIES,
            Self::MAX_KEY,
            Self::MAX_VALUE
        )))
    }
}

impl From<Metadata> for BTreeMap<String, String> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Temporal's SDK parses payloads as values first.
    #[test]
    fn inputs_with_any_key_survive_values() {
        for input in [
            json!({}),
            json!({"steps": 4, "nested": {"a": [0, null, 0.1]}}),
            json!({"$serde_json::private::RawValue": "x"}),
            json!({"x": {"$serde_json::private::RawValue": "{\"foo\": 1}", "a": 1}}),
            json!({"$serde_json::private::Number": "1"}),
        ] {
            let parsed: ModelInput = serde_json::from_str(&input.to_string()).unwrap();
            let value = serde_json::to_value(&parsed).unwrap();
            assert_eq!(value, input);
            assert_eq!(serde_json::from_value::<ModelInput>(value).unwrap(), parsed);
            let text = serde_json::to_string(&parsed).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), input);
        }
    }
}
