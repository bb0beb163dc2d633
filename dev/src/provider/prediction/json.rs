//! The JSON of a prediction, as the API returns it: by itself, and in the list.

use base64::{Engine, prelude::BASE64_STANDARD};
use darkroom_workflows::job::PredictionStatus;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Format, Prediction};
use crate::provider::render;

/// Placeholder for half a surrogate pair, which no `String` can hold.
pub(crate) const HALF: &str = "<half a surrogate pair>";

impl Prediction {
    /// Returns the JSON of the prediction at a time.
    #[must_use]
    pub fn to_json(&self, origin: &str, now: Timestamp) -> Value {
        let mut json = self.to_entry(origin, now);
        json["input"] = Value::Object(self.input.clone());
        json["webhook"] = json!(self.webhook);
        json["output"] = self.output(origin, now);
        json["logs"] = "".into();
        let script = self.script();
        if self.status(now).is_terminal() {
            json["logs"] = "x".repeat(script.log_bytes).into();
        }
        if script.sloppy {
            json["logs"] = HALF.into();
            for time in ["created_at", "started_at", "completed_at"] {
                json[time] = json[time]
                    .as_str()
                    .map(|at| at.trim_end_matches('Z'))
                    .into();
            }
        }
        if self.is_younger(script.booting_for, now) {
            json["status"] = "booting".into();
        }
        json
    }

    /// Returns the JSON of its entry in the list.
    #[must_use]
    pub fn to_entry(&self, origin: &str, now: Timestamp) -> Value {
        let status = self.status(now);
        let url = format!("{origin}/v1/predictions/{}", self.id);
        let started_at = (now >= self.started_at()).then(|| self.started_at());
        let completed_at = status
            .is_terminal()
            .then(|| self.stopped_at(now).unwrap_or_else(|| self.ends_at()));
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
        let metrics = completed_at.map_or(json!({}), |end| {
            json!({"predict_time": seconds(self.started_at().min(end), end), "total_time": seconds(self.created_at, end)})
        });
        json!({
            "id": self.id,
            "model": self.model,
            "version": "hidden",
            "status": status,
            "error": (status == PredictionStatus::Failed).then(|| self.script().fail),
            "data_removed": self.is_removed(now),
            "created_at": self.created_at,
            "started_at": started_at,
            "completed_at": completed_at,
            "metrics": metrics,
            "urls": {"get": url, "cancel": format!("{url}/cancel"), "web": url},
        })
    }

    fn output(&self, origin: &str, now: Timestamp) -> Value {
        let is_there = |after| now >= self.ends_at() + after;
        if !self.has_made(now)
            || self.is_removed(now)
            || !self.script().outputs_after.is_none_or(is_there)
        {
            return Value::Null;
        }
        if let Some(urls) = self.script().urls {
            return json!(urls);
        }
        let extension = Format::of(&self.input).extension();
        let address = |index: &dyn std::fmt::Display| {
            format!("{origin}/files/{}/{index}.{extension}", self.id)
        };
        if let Some(output) = self.script().output {
            return with_addresses(output, &|index| address(&index));
        }
        if self.script().inline {
            let files: Value = (0..self.count())
                .filter_map(|index| self.inline(index, extension, now))
                .collect();
            return json!({"caption": "inline, as configured", "files": files});
        }
        (0..self.count()).map(|index| address(&index)).collect()
    }

    fn inline(&self, index: u32, extension: &str, now: Timestamp) -> Option<String> {
        let picture = self.file(&format!("{index}.{extension}"), now)?;
        let bytes = render::render(&picture).ok()?;
        Some(format!(
            "data:application/octet-stream;base64,{}",
            BASE64_STANDARD.encode(bytes)
        ))
    }
}

/// Replaces each `{N}` in an output by the URL of file N.
fn with_addresses(output: Value, address: &dyn Fn(&str) -> String) -> Value {
    match output {
        Value::String(text) => match text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
        {
            Some(index) => address(index).into(),
            None => text.into(),
        },
        Value::Array(items) => items
            .into_iter()
            .map(|item| with_addresses(item, address))
            .collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, with_addresses(value, address)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}
