//! Requests that callers send. Every field is a type that is validated while it is parsed, so that
//! a [`JobRequest`] value is always valid. Statuses of jobs are in [`crate::status`]. What a new
//! field needs elsewhere is in CONTRIBUTING.md.
//!
//! - `model`, `prompt`, `numbers`, `output_format`, `free_form`, `webhook`: types of a job
//!   request's fields
//! - `idempotency_key`: the header `Idempotency-Key`
//! - `list`, `media_url`: query parameters
//! - `retry`, `api_key`: bodies of other requests

mod api_key;
mod free_form;
mod idempotency_key;
mod list;
mod media_url;
mod model;
mod numbers;
mod output_format;
mod prompt;
mod retry;
mod webhook;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use utoipa::ToSchema;

pub use self::{
    api_key::{CreateApiKey, KeyName, ListApiKeys},
    free_form::{Metadata, ModelInput},
    idempotency_key::{IdempotencyKey, InvalidIdempotencyKey},
    list::{Expansion, ListJobs, ListMedia, ListedStatus, PageSize},
    media_url::{Disposition, GetMediaUrl},
    model::Model,
    numbers::{DeadlineSeconds, ExpireAfterSeconds, JobPriority, NumOutputs},
    output_format::OutputFormat,
    prompt::Prompt,
    retry::RetryRequest,
    webhook::{WebhookEvent, WebhookEvents, WebhookUrl},
};
use crate::schema::example;

/// Request for a job: a model, with a prompt, an input, or both.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object", remote = "Self")]
#[schema(example = json!(example!("job_request.json")))]
pub struct JobRequest {
    /// Model to call: `owner/name`, `owner/name:version`, a version alone, or
    /// `deployments/owner/name`.
    pub model: Model,
    /// Text prompt of the model. It may be absent if there is an `input`, as not every model takes
    /// a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
    /// Number of files to request from the provider.
    #[serde(default)]
    #[schema(default = 1)]
    pub num_outputs: NumOutputs,
    /// Seed that makes the generation repeatable, if the model supports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "uint64")]
    pub seed: Option<u64>,
    /// File format to request from the provider; the model's own default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_format: Option<OutputFormat>,
    /// Deadline of the job, in seconds after its acceptance; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<DeadlineSeconds>,
    /// Retention of the job, in seconds after its end: then it is deleted, with all that it has
    /// stored. The operator's default applies if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_after_seconds: Option<ExpireAfterSeconds>,
    /// Priority among waiting jobs: 3 is the default, 4 and 5 come later.
    #[serde(default, skip_serializing_if = "JobPriority::is_usual")]
    #[schema(default = 3)]
    pub priority: JobPriority,
    /// Further inputs, passed to the model unchanged: at most 262,144 bytes as JSON. Inputs that
    /// have a field of their own here, such as `num_outputs`, are rejected.
    #[serde(default, skip_serializing_if = "ModelInput::is_empty")]
    pub input: ModelInput,
    /// Labels of your own, returned unchanged: at most 50, with keys of 1 to 40 characters and
    /// values of at most 500 characters.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// Webhook that is notified of the job's end: an `http` or `https` URL. See *Webhooks*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<WebhookUrl>,
    /// Events that the webhook is notified of; all if absent.
    #[serde(default, skip_serializing_if = "WebhookEvents::is_default")]
    pub webhook_events: WebhookEvents,
}

impl JobRequest {
    /// Request for one output, with the defaults of all other fields.
    #[must_use]
    pub fn new(model: Model, prompt: Prompt) -> Self {
        Self {
            model,
            prompt: Some(prompt),
            num_outputs: NumOutputs::default(),
            seed: None,
            output_format: None,
            deadline_seconds: None,
            expire_after_seconds: None,
            priority: JobPriority::default(),
            input: ModelInput::default(),
            metadata: Metadata::default(),
            webhook_url: None,
            webhook_events: WebhookEvents::default(),
        }
    }

    /// Excerpt of the prompt on one line, for summaries: at most `limit` characters.
    #[must_use]
    pub fn excerpt(&self, limit: usize) -> String {
        match &self.prompt {
            Some(prompt) => prompt.excerpt(limit),
            None => "an input without a prompt".chars().take(limit).collect(),
        }
    }
}

impl Serialize for JobRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for JobRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let request = Self::deserialize(deserializer)?;
        if request.prompt.is_none() && request.input.is_empty() {
            return Err(D::Error::custom(
                "must have a prompt, or an input for a model that takes no prompt",
            ));
        }
        Ok(request)
    }
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
        assert_eq!(request.model.to_string(), "acme/photo:v1.2");
        let json = serde_json::to_value(&request).unwrap();
        assert_eq!(
            json,
            json!({"model": "acme/photo:v1.2", "prompt": "a fox", "num_outputs": 1})
        );
        assert_eq!(parse(json).unwrap(), request);
    }

    #[test]
    fn a_model_may_take_no_prompt() {
        let request = parse(json!({"model": "a/b", "input": {"image": "https://x/y"}})).unwrap();
        assert_eq!(request.prompt, None);
        for nothing in [
            json!({"model": "a/b"}),
            json!({"model": "a/b", "input": {}}),
        ] {
            assert!(
                parse(nothing)
                    .unwrap_err()
                    .contains("a prompt, or an input")
            );
        }
    }

    /// List within a list, and so on, this many levels deep.
    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |value, _| json!([value]))
    }

    #[test]
    fn accepted_requests_parse_within_nested_documents() {
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
    fn invalid_values_are_refused_with_the_rule() {
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
            ("priority", json!(2), "must be 3 to 5, not 2"),
            ("deadline_seconds", json!(0), "1 to 604800, not 0"),
            ("deadline_seconds", json!(604_801), "not 604801"),
            ("expire_after_seconds", json!(0), "not 0"),
            ("seed", json!(1.5), "invalid type"),
            (
                "input",
                json!({"x": "y".repeat(262_144)}),
                "at most 262144 bytes",
            ),
            (
                "input",
                json!({"num_outputs": 2}),
                "beside input, not in it",
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
            ("webhook_events", json!([]), "at least one event"),
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
