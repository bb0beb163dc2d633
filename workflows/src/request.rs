//! What a caller asks for. Every field is a type that parses, so that a [`JobRequest`] in hand is a valid one.
//! How a request is answered is not here: see [`crate::job`].

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A request for media: the body of `POST /v1/jobs` and the input of the workflow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// The model to call.
    pub model: Model,
    /// What to make.
    pub prompt: Prompt,
    /// How many files to ask the provider for.
    #[serde(default)]
    pub num_outputs: NumOutputs,
    /// Makes a generation repeatable, where the model supports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The file format to ask the provider for; the model's own default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_format: Option<OutputFormat>,
    /// How long the job may take from when it was accepted; as long as it takes if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<DeadlineSeconds>,
    /// Further inputs, passed to the model as they are. The named fields above win over keys of the same name.
    #[serde(default, skip_serializing_if = "ModelInput::is_empty")]
    pub input: ModelInput,
    /// The caller's own labels, returned as they came.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

/// Why a value is not acceptable. The message names the rule and reads well after the name of the field.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

/// A model's name: `owner/name` or `owner/name:version`, each part 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Model {
    owner: String,
    name: String,
    version: Option<String>,
}

impl Model {
    const MAX_PART: usize = 64;

    /// Who publishes the model.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The model's name among its owner's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pinned version, if any.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

impl TryFrom<String> for Model {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid(format!(
                "must be \"owner/name\" or \"owner/name:version\", each part 1 to {} of A-Z a-z 0-9 . _ -",
                Self::MAX_PART
            ))
        };
        let is_part = |part: &str| {
            (1..=Self::MAX_PART).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let (path, version) = match text.split_once(':') {
            Some((path, version)) => (path, Some(version)),
            None => (text.as_str(), None),
        };
        let (owner, name) = path.split_once('/').ok_or_else(invalid)?;
        if is_part(owner) && is_part(name) && version.is_none_or(is_part) {
            Ok(Self { owner: owner.to_owned(), name: name.to_owned(), version: version.map(str::to_owned) })
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)?;
        match &self.version {
            Some(version) => write!(formatter, ":{version}"),
            None => Ok(()),
        }
    }
}

impl From<Model> for String {
    fn from(model: Model) -> Self {
        model.to_string()
    }
}

/// What to make: 1 to 10,000 characters, not only white space.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prompt(String);

impl Prompt {
    const MAX_CHARACTERS: usize = 10_000;

    /// The prompt as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The beginning of the prompt on one line, for a reader who scans: `limit` characters at most.
    #[must_use]
    pub fn excerpt(&self, limit: usize) -> String {
        let line = self.0.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().count() <= limit {
            return line;
        }
        let mut excerpt: String = line.chars().take(limit.saturating_sub(1)).collect();
        excerpt.push('…');
        excerpt
    }
}

impl TryFrom<String> for Prompt {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let characters = text.chars().count();
        if text.trim().is_empty() || characters > Self::MAX_CHARACTERS {
            return Err(Invalid(format!(
                "must have 1 to {} characters and not only white space, not {characters}",
                Self::MAX_CHARACTERS
            )));
        }
        Ok(Self(text))
    }
}

impl From<Prompt> for String {
    fn from(prompt: Prompt) -> Self {
        prompt.0
    }
}

/// How many files to ask for: 1 to 100, 1 if not said.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct NumOutputs(u8);

impl NumOutputs {
    const MAX: u8 = 100;

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for NumOutputs {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u64> for NumOutputs {
    type Error = Invalid;

    fn try_from(number: u64) -> Result<Self, Invalid> {
        match u8::try_from(number) {
            Ok(number) if (1..=Self::MAX).contains(&number) => Ok(Self(number)),
            _ => Err(Invalid(format!("must be 1 to {}, not {number}", Self::MAX))),
        }
    }
}

impl From<NumOutputs> for u64 {
    fn from(number: NumOutputs) -> Self {
        number.0.into()
    }
}

/// How long a job may take: 1 second to 7 days.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct DeadlineSeconds(u32);

impl DeadlineSeconds {
    const MAX: u32 = 7 * 24 * 60 * 60;

    /// The time.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl TryFrom<u64> for DeadlineSeconds {
    type Error = Invalid;

    fn try_from(number: u64) -> Result<Self, Invalid> {
        match u32::try_from(number) {
            Ok(number) if (1..=Self::MAX).contains(&number) => Ok(Self(number)),
            _ => Err(Invalid(format!("must be 1 to {}, not {number}", Self::MAX))),
        }
    }
}

impl From<DeadlineSeconds> for u64 {
    fn from(seconds: DeadlineSeconds) -> Self {
        seconds.0.into()
    }
}

/// A file format to ask a provider for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the name of a well-known format")]
pub enum OutputFormat {
    Jpg,
    Png,
    Webp,
    Gif,
    Mp4,
    Webm,
    Mp3,
    Wav,
    Glb,
}

/// Inputs for the model beside the named ones: at most 64 KiB as JSON, so that a job's history stays small.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct ModelInput(Map<String, Value>);

impl ModelInput {
    const MAX_BYTES: usize = 64 * 1024;

    /// The inputs by name.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Map<String, Value>> for ModelInput {
    type Error = Invalid;

    fn try_from(map: Map<String, Value>) -> Result<Self, Invalid> {
        let bytes = Value::Object(map.clone()).to_string().len();
        if bytes > Self::MAX_BYTES {
            return Err(Invalid(format!("must take at most {} bytes as JSON, not {bytes}", Self::MAX_BYTES)));
        }
        Ok(Self(map))
    }
}

impl From<ModelInput> for Map<String, Value> {
    fn from(input: ModelInput) -> Self {
        input.0
    }
}

/// The caller's own labels: at most 50, keys of 1 to 40 characters, values of at most 500.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    const MAX_ENTRIES: usize = 50;
    const MAX_KEY: usize = 40;
    const MAX_VALUE: usize = 500;

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = Invalid;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, Invalid> {
        let fits = |(key, value): (&String, &String)| {
            (1..=Self::MAX_KEY).contains(&key.chars().count()) && value.chars().count() <= Self::MAX_VALUE
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

    fn parse(value: Value) -> Result<JobRequest, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_minimal_request_gets_defaults_and_survives_a_round_trip() {
        let request = parse(json!({"model": "acme/photo:v1.2", "prompt": "a fox"})).unwrap();
        assert_eq!(request.num_outputs.get(), 1);
        assert_eq!(request.model.version(), Some("v1.2"));
        let json = serde_json::to_value(&request).unwrap();
        assert_eq!(json, json!({"model": "acme/photo:v1.2", "prompt": "a fox", "num_outputs": 1}));
        assert_eq!(parse(json).unwrap(), request);
    }

    #[test]
    fn bad_values_are_refused_with_their_rule() {
        let long_key = "k".repeat(41);
        for (field, value, rule) in [
            ("model", json!("no-slash"), "owner/name"),
            ("model", json!("a/b/c"), "owner/name"),
            ("model", json!("a/b:"), "owner/name"),
            ("model", json!("a b/c"), "owner/name"),
            ("model", json!(format!("a/{}", "b".repeat(65))), "owner/name"),
            ("prompt", json!(""), "1 to 10000 characters"),
            ("prompt", json!(" \n"), "1 to 10000 characters"),
            ("prompt", json!("x".repeat(10_001)), "not 10001"),
            ("num_outputs", json!(0), "1 to 100, not 0"),
            ("num_outputs", json!(101), "1 to 100, not 101"),
            ("num_outputs", json!(257), "1 to 100, not 257"),
            ("num_outputs", json!(-1), "invalid value"),
            ("num_outputs", json!("4"), "invalid type"),
            ("output_format", json!("bmp"), "unknown variant"),
            ("deadline_seconds", json!(0), "1 to 604800, not 0"),
            ("deadline_seconds", json!(604_801), "not 604801"),
            ("seed", json!(1.5), "invalid type"),
            ("input", json!({"x": "y".repeat(65_536)}), "at most 65536 bytes"),
            ("metadata", json!({long_key: "v"}), "keys of 1 to 40"),
            ("metadata", json!({"k": 1}), "invalid type"),
            ("promt", json!("typo"), "unknown field"),
        ] {
            let mut body = json!({"model": "acme/photo", "prompt": "a fox"});
            body[field] = value;
            let error = parse(body).unwrap_err();
            assert!(error.contains(rule), "{field}: {error}");
        }
    }

    #[test]
    fn prompt_limits_count_characters_not_bytes() {
        assert!(Prompt::try_from("ü".repeat(10_000)).is_ok());
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        let prompt = Prompt::try_from("a red\n fox in the snow".to_owned()).unwrap();
        assert_eq!(prompt.excerpt(40), "a red fox in the snow");
        assert_eq!(prompt.excerpt(6), "a red…");
    }
}
