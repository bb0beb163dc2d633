//! A prediction. Its status is a function of its record and the time, so nothing runs in the
//! background and nothing is lost when the provider is killed.
//!
//! - `json`: its JSON, as the API returns it
//! - `file`: the files that it has made

mod file;
mod json;

use std::time::Duration;

use darkroom_workflows::job::PredictionStatus;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::file::{Format, Picture};
pub(super) use self::json::HALF;
use super::script::Script;

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
        let stops = !self.status(now).is_terminal() && !self.refuses_cancel();
        if stops {
            self.canceled_at = Some(now);
        }
        stops
    }

    /// True if its script refuses the latest cancel call.
    pub(super) fn refuses_cancel(&self) -> bool {
        self.cancel_calls <= self.script().refuse_cancels
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

    /// True if it has outputs.
    fn has_made(&self, now: Timestamp) -> bool {
        match self.status(now) {
            PredictionStatus::Succeeded => true,
            PredictionStatus::Failed => self.script().fails_with_outputs,
            _ => false,
        }
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
        hidden || self.is_younger(hidden_for, now)
    }

    /// True if reading it returns 404.
    pub(super) fn is_not_found(&self, now: Timestamp) -> bool {
        self.is_younger(self.script().not_found_for, now)
    }

    /// True if reading it shows it before its end.
    pub(super) fn lags(&self, now: Timestamp) -> bool {
        self.is_younger(self.script().lags_for, now)
    }

    /// True if there is such a time, and it has not passed since the create call.
    fn is_younger(&self, time: Option<Duration>, now: Timestamp) -> bool {
        time.is_some_and(|time| now < self.created_at + time)
    }

    fn is_removed(&self, now: Timestamp) -> bool {
        match self.script().retention {
            Some(retention) => now > self.ends_at() + retention,
            None => now > self.ends_at() + RETENTION,
        }
    }

    /// Replaces fields of the instructions.
    pub(super) fn change_script(&mut self, fields: &Map<String, Value>) {
        let script = self.input.entry("dev").or_insert_with(|| Map::new().into());
        if let Value::Object(script) = script {
            script.extend(fields.clone());
        }
    }

    /// Returns the instructions. The create call has validated them, so the default is never
    /// needed.
    pub(super) fn script(&self) -> Script {
        Script::of(&self.input).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
