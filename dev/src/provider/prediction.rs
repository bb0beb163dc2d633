//! A prediction. Its status is a function of its record and the time, so nothing runs in the
//! background and nothing is lost when the provider is killed.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use darkroom_workflows::job::PredictionStatus;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    render::{self, LONGER},
    script::Script,
};

/// Placeholder for half a surrogate pair, which no `String` can hold.
pub(super) const HALF: &str = "<half a surrogate pair>";

/// Time after the end of a prediction when its files are removed.
const RETENTION: SignedDuration = SignedDuration::from_hours(1);

/// A prediction as stored on disk.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Prediction {
    /// Id; ids sort by creation.
    pub id: String,
    /// Model.
    pub model: String,
    /// Input of the model.
    pub input: Map<String, Value>,
    /// URL of the webhook.
    pub webhook: Option<String>,
    /// Events to report. Empty means all of them.
    pub webhook_events_filter: Vec<String>,
    /// Time of the create call.
    pub created_at: Timestamp,
    /// Duration from the create call to the end.
    pub latency: Duration,
    /// Limit of the duration, from the header `Cancel-After`.
    #[serde(default)]
    pub cancel_after: Option<Duration>,
    /// Time of the cancellation, if it was canceled before its end.
    pub canceled_at: Option<Timestamp>,
    /// Number of cancel calls.
    #[serde(default)]
    pub cancel_calls: u32,
}

/// File to render.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Prompt, which chooses the scene.
    pub prompt: String,
    /// Seed: the same seed gives the same picture.
    pub seed: u64,
    /// File format.
    pub format: Format,
    /// Width and height, in pixels.
    pub size: (u16, u16),
    /// Length of filler bytes to return instead of a picture.
    pub bytes: Option<usize>,
}

/// File formats that can be rendered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    missing_docs,
    reason = "each variant is the name of a well-known format"
)]
pub enum Format {
    Jpg,
    Png,
    Webp,
    Mp4,
}

impl Format {
    fn of(input: &Map<String, Value>) -> Self {
        match input.get("output_format").and_then(Value::as_str) {
            Some("jpg") => Self::Jpg,
            Some("png") => Self::Png,
            Some("mp4") => Self::Mp4,
            _ => Self::Webp,
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Jpg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Mp4 => "mp4",
        }
    }
}

impl Prediction {
    /// Creates a prediction that begins at `created_at`.
    #[must_use]
    pub fn new(
        model: String,
        input: Map<String, Value>,
        webhook: Option<String>,
        webhook_events_filter: Vec<String>,
        created_at: Timestamp,
        latency: Duration,
        cancel_after: Option<Duration>,
    ) -> Self {
        let id = Uuid::now_v7().simple().to_string();
        Self {
            id,
            model,
            input,
            webhook,
            webhook_events_filter,
            created_at,
            latency,
            cancel_after,
            canceled_at: None,
            cancel_calls: 0,
        }
    }

    /// Cancels the prediction unless it has ended. Returns true if it was canceled.
    pub fn cancel(&mut self, now: Timestamp) -> bool {
        self.cancel_calls += 1;
        let stops = !self.status(now).is_terminal();
        if stops {
            self.canceled_at = Some(now);
        }
        stops
    }

    /// Returns the time left until it ends.
    #[must_use]
    pub fn time_left(&self, now: Timestamp) -> Duration {
        let ends_at = match self.cancel_after {
            Some(after) => self.ends_at().min(self.created_at + after),
            None => self.ends_at(),
        };
        Duration::try_from(ends_at.duration_since(now)).unwrap_or_default()
    }

    /// True if it has ended without a cancel call.
    #[must_use]
    pub fn has_ended_by_itself(&self, now: Timestamp) -> bool {
        self.canceled_at.is_none() && self.status(now).is_terminal()
    }

    /// Returns the time when it was stopped early: by a cancel call, or by `Cancel-After`.
    fn stopped_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ends_at = self.ends_at();
        let over = self.cancel_after.map(|after| self.created_at + after);
        let over = over.filter(|over| *over < ends_at && *over <= now);
        self.canceled_at.or(over)
    }

    /// Returns the status at a time.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> PredictionStatus {
        match self.stopped_at(now) {
            Some(canceled_at) if canceled_at < self.started_at() => PredictionStatus::Aborted,
            Some(_) => PredictionStatus::Canceled,
            None if now < self.started_at() => PredictionStatus::Starting,
            None if now < self.ends_at() => PredictionStatus::Processing,
            None if self.script().fail.is_some() => PredictionStatus::Failed,
            None => PredictionStatus::Succeeded,
        }
    }

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
        if script
            .booting_for
            .is_some_and(|time| now < self.created_at + time)
        {
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

    /// Returns the file of this name, if it can be fetched at this time.
    #[must_use]
    pub fn file(&self, name: &str, now: Timestamp) -> Option<Picture> {
        let (index, extension) = name.split_once('.')?;
        let index: u32 = index.parse().ok()?;
        let script = self.script();
        let format = Format::of(&self.input);
        let is_there = self.has_made(now)
            && !self.is_removed(now)
            && index < self.count()
            && extension == format.extension()
            && !(script.missing.contains(&index) && self.is_missing(&script, now));
        let prompt = self
            .input
            .get("prompt")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let seed = self
            .input
            .get("seed")
            .and_then(Value::as_u64)
            .unwrap_or_else(|| fold(&self.id));
        is_there.then(|| Picture {
            prompt,
            seed: seed.wrapping_add(index.into()),
            format,
            size: size(self.input.get("aspect_ratio").and_then(Value::as_str)),
            bytes: script.bytes,
        })
    }

    /// True if the instructions name this file as missing, for a while or for good.
    #[must_use]
    pub fn is_scripted_missing(&self, name: &str) -> bool {
        let index = name.split('.').next().and_then(|index| index.parse().ok());
        index.is_some_and(|index| self.script().missing.contains(&index))
    }

    fn is_missing(&self, script: &Script, now: Timestamp) -> bool {
        script
            .missing_for
            .is_none_or(|missing_for| now < self.ends_at() + missing_for)
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
            return json!({"caption": "inline, as told", "files": files});
        }
        (0..self.count()).map(|index| address(&index)).collect()
    }

    /// True if it has outputs.
    fn has_made(&self, now: Timestamp) -> bool {
        match self.status(now) {
            PredictionStatus::Succeeded => true,
            PredictionStatus::Failed => self.script().fails_with_outputs,
            _ => false,
        }
    }

    fn inline(&self, index: u32, extension: &str, now: Timestamp) -> Option<String> {
        let picture = self.file(&format!("{index}.{extension}"), now)?;
        let bytes = render::render(&picture).ok()?;
        Some(format!(
            "data:application/octet-stream;base64,{}",
            BASE64_STANDARD.encode(bytes)
        ))
    }

    fn count(&self) -> u32 {
        let asked = self
            .input
            .get("num_outputs")
            .and_then(Value::as_u64)
            .and_then(|count| u32::try_from(count).ok());
        self.script().outputs.or(asked).unwrap_or(1)
    }

    fn started_at(&self) -> Timestamp {
        const LONGEST_START: Duration = Duration::from_millis(500);
        self.created_at + (self.latency / 5).min(LONGEST_START)
    }

    fn ends_at(&self) -> Timestamp {
        self.created_at + self.latency
    }

    /// True if the list omits it.
    pub(super) fn is_hidden(&self, now: Timestamp) -> bool {
        let Script {
            hidden, hidden_for, ..
        } = self.script();
        hidden || hidden_for.is_some_and(|time| now < self.created_at + time)
    }

    /// True if reading it returns 404.
    pub(super) fn is_not_found(&self, now: Timestamp) -> bool {
        let not_found_for = self.script().not_found_for;
        not_found_for.is_some_and(|time| now < self.created_at + time)
    }

    fn is_removed(&self, now: Timestamp) -> bool {
        match self.script().retention {
            Some(retention) => now > self.ends_at() + retention,
            None => now > self.ends_at() + RETENTION,
        }
    }

    /// Returns the instructions. The create call has validated them, so the default is never
    /// needed.
    pub(super) fn script(&self) -> Script {
        Script::of(&self.input).unwrap_or_default()
    }
}

/// Returns the size in pixels for an aspect ratio such as `16:9`. Falls back to 3:2.
fn size(ratio: Option<&str>) -> (u16, u16) {
    let parse = |ratio: &str| {
        let (width, height) = ratio.split_once(':')?;
        let sides: (u16, u16) = (width.parse().ok()?, height.parse().ok()?);
        let is_usual = (1..=32).contains(&sides.0) && (1..=32).contains(&sides.1);
        is_usual.then_some(sides)
    };
    let (width, height) = ratio.and_then(parse).unwrap_or((3, 2));
    let longer = width.max(height);
    (LONGER * width / longer, LONGER * height / longer)
}

fn fold(text: &str) -> u64 {
    text.bytes().fold(0, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(latency: u64) -> Prediction {
        let input = Map::from_iter([
            ("prompt".to_owned(), json!("a fox")),
            ("num_outputs".to_owned(), json!(2)),
        ]);
        Prediction::new(
            "acme/photo".to_owned(),
            input,
            None,
            vec![],
            Timestamp::UNIX_EPOCH,
            Duration::from_secs(latency),
            None,
        )
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn time_alone_moves_a_prediction_along() {
        let prediction = prediction(10);
        assert_eq!(prediction.status(at(0)), PredictionStatus::Starting);
        assert_eq!(prediction.status(at(5)), PredictionStatus::Processing);
        assert_eq!(prediction.to_json("http://p", at(5))["output"], Value::Null);
        assert_eq!(prediction.status(at(10)), PredictionStatus::Succeeded);
        assert_eq!(
            prediction.to_json("http://p", at(10))["output"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn pictures_have_the_ratio_that_they_are_asked_for() {
        assert_eq!(size(None), (768, 512));
        assert_eq!(size(Some("16:9")), (768, 432));
        assert_eq!(size(Some("9:16")), (432, 768));
        for ratio in ["", "16", "0:1", "1:99", "a:b"] {
            assert_eq!(size(Some(ratio)), (768, 512), "{ratio}");
        }
    }

    #[test]
    fn files_vanish_an_hour_after_the_end() {
        let prediction = prediction(10);
        assert!(prediction.file("0.webp", at(10)).is_some());
        assert!(prediction.file("2.webp", at(10)).is_none());
        assert!(prediction.file("0.webp", at(3_611)).is_none());
        assert_eq!(
            prediction.to_json("http://p", at(3_611))["data_removed"],
            true
        );
    }

    #[test]
    fn a_prediction_whose_time_is_over_stops_by_itself() {
        let mut prediction = prediction(10);
        prediction.cancel_after = Some(Duration::from_secs(6));
        assert_eq!(prediction.status(at(5)), PredictionStatus::Processing);
        assert_eq!(prediction.status(at(6)), PredictionStatus::Canceled);
        prediction.cancel_after = Some(Duration::from_secs(11));
        assert_eq!(prediction.status(at(60)), PredictionStatus::Succeeded);
    }

    #[test]
    fn canceling_stops_only_what_has_not_ended() {
        let mut early = prediction(10);
        assert!(early.cancel(at(0)));
        assert_eq!(early.status(at(60)), PredictionStatus::Aborted);
        let mut running = prediction(10);
        assert!(running.cancel(at(5)));
        assert_eq!(running.status(at(60)), PredictionStatus::Canceled);
        let mut late = prediction(10);
        assert!(!late.cancel(at(11)));
        assert_eq!(late.status(at(60)), PredictionStatus::Succeeded);
    }
}
