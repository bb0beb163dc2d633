//! What a caller asks for. Every field is a type that parses, so that a [`JobRequest`] in hand is a valid one.
//! How a request is answered is not here: see [`crate::job`].

mod free_form;
mod model;
mod prompt;
mod webhook;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    free_form::{Metadata, ModelInput},
    model::Model,
    prompt::Prompt,
    webhook::{WebhookEvent, WebhookEvents, WebhookUrl},
};

/// A request for media: the body of `POST /v1/jobs` and the input of the workflow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
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
    /// Where to tell how the job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<WebhookUrl>,
    /// Which ends to tell of.
    #[serde(default, skip_serializing_if = "WebhookEvents::is_default")]
    pub webhook_events: WebhookEvents,
}

/// Why a value is not acceptable. The message names the rule and reads well after the name of the field.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

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
#[expect(
    missing_docs,
    reason = "each variant is the name of a well-known format"
)]
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
        assert_eq!(
            json,
            json!({"model": "acme/photo:v1.2", "prompt": "a fox", "num_outputs": 1})
        );
        assert_eq!(parse(json).unwrap(), request);
    }

    /// A list within a list, and so on.
    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |value, _| json!([value]))
    }

    #[test]
    fn whatever_is_accepted_reads_back_from_what_carries_it() {
        let body = json!({
            "model": "acme/photo",
            "prompt": "a fox",
            "input": {"x": nested(32), "y": 1e-30},
            "webhook_url": format!("https://example.com/{}", "é".repeat(300)),
        });
        let carried = nested(40).to_string().replacen(
            '1',
            &serde_json::to_string(&parse(body).unwrap()).unwrap(),
            1,
        );
        let mut read: Value = serde_json::from_str(&carried).unwrap();
        while let Value::Array(values) = read {
            read = values.into_iter().next().unwrap();
        }
        assert!(parse(read).is_ok());
        let too_deep =
            json!({"model": "acme/photo", "prompt": "a fox", "input": {"x": nested(33)}});
        assert!(
            parse(too_deep)
                .unwrap_err()
                .contains("nested at most 32 times")
        );
    }

    #[test]
    fn bad_values_are_refused_with_their_rule() {
        let long_key = "k".repeat(41);
        for (field, value, rule) in [
            ("model", json!("no-slash"), "owner/name"),
            ("model", json!("a/b/c"), "owner/name"),
            ("model", json!("a/b:"), "owner/name"),
            ("model", json!("a b/c"), "owner/name"),
            (
                "model",
                json!(format!("a/{}", "b".repeat(65))),
                "owner/name",
            ),
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
            (
                "input",
                json!({"x": "y".repeat(65_536)}),
                "at most 65536 bytes",
            ),
            ("metadata", json!({long_key: "v"}), "keys of 1 to 40"),
            ("metadata", json!({"k": 1}), "invalid type"),
            ("webhook_url", json!("example.com/hook"), "an absolute URL"),
            (
                "webhook_url",
                json!("ftp://example.com/"),
                "http or https, not ftp",
            ),
            (
                "webhook_url",
                json!("https://a:b@example.com/"),
                "no user name",
            ),
            (
                "webhook_url",
                json!(format!("https://example.com/{}", "a".repeat(2048))),
                "at most 2048 characters",
            ),
            (
                "webhook_url",
                json!(format!("https://example.com/{}", "é".repeat(600))),
                "at most 2048 characters",
            ),
            ("webhook_events", json!([]), "one event at least"),
            ("webhook_events", json!(["job.started"]), "unknown variant"),
            ("promt", json!("typo"), "unknown field"),
        ] {
            let mut body = json!({"model": "acme/photo", "prompt": "a fox"});
            body[field] = value;
            let error = parse(body).unwrap_err();
            assert!(error.contains(rule), "{field}: {error}");
        }
    }
}
