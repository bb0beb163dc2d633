//! Outputs as the provider made them, before they are stored: which texts of its answer are URLs of
//! files, and how much of them a job carries and a history holds, as a payload must stay below 1
//! MiB.

use std::fmt::{self, Debug, Formatter};

use serde::{Deserialize, Serialize};
use url::Url;

/// Largest number of outputs that a job carries: each is an activity and a few events in one
/// workflow's history. If a prediction made more, the first ones are stored.
pub const MAX_OUTPUTS: usize = 1000;

/// Maximum length of a URL in a history, in bytes; a longer one is read from the prediction when it
/// is needed.
const MAX_URL: usize = 2048;

/// Maximum length of all URLs of a prediction, in bytes; those beyond are read from the prediction
/// as well.
const MAX_URLS: usize = 512 * 1024;

/// Maximum length of all names of outputs, in bytes; those beyond are left out.
const MAX_NAMES: usize = 128 * 1024;

/// Output that a prediction has made, or was to make.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MadeOutput {
    /// Path in the provider's answer, such as `stems[0].url`; absent if it is no more than a
    /// position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Source to read it from.
    pub source: OutputSource,
}

impl MadeOutput {
    /// Returns true unless the provider withheld the output.
    pub(crate) fn is_there(&self) -> bool {
        self.source != OutputSource::Withheld
    }
}

/// Source of an output. A URL may carry a signature, so it stays out of the job resource and of
/// logs.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSource {
    /// The URL of the output, as text: it is sent as the provider wrote it.
    Url(String),
    /// The prediction: the output is inline in it, or its URL is too large for a history, so the
    /// prediction is read again.
    Prediction,
    /// No source: the provider withheld the output.
    Withheld,
}

impl OutputSource {
    /// Returns the source of a file, if the whole text is its URL: `http:` or `https:` with a host,
    /// or `data:`.
    #[must_use]
    pub fn of_url(text: &str) -> Option<Self> {
        if is_data_url(text) {
            return Some(Self::Prediction);
        }
        let is_http = text.starts_with("https:") || text.starts_with("http:");
        let is_whole = !text.contains(char::is_whitespace);
        let is_url = is_http && is_whole && Url::parse(text).is_ok_and(|url| url.has_host());
        is_url.then(|| Self::Url(text.to_owned()))
    }
}

/// Returns true if the text is a `data:` URL, and not one that begins like it: what is between the
/// colon and the comma is empty, a media type or parameters.
/// <https://www.rfc-editor.org/rfc/rfc2397#section-3>
fn is_data_url(text: &str) -> bool {
    let Some((media_type, _)) = text
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(','))
    else {
        return false;
    };
    let is_type = media_type.is_empty() || media_type.starts_with(';') || media_type.contains('/');
    is_type && !media_type.contains(char::is_whitespace)
}

impl Debug for OutputSource {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Url(_) => "Url(…)",
            Self::Prediction => "Prediction",
            Self::Withheld => "Withheld",
        })
    }
}

/// Cuts the outputs of a prediction to what a job carries and a history holds.
pub(super) fn fit_history(outputs: Vec<MadeOutput>) -> Vec<MadeOutput> {
    let (mut names, mut urls) = (Budget(MAX_NAMES), Budget(MAX_URLS));
    let outputs = outputs.into_iter().take(MAX_OUTPUTS);
    let outputs = outputs.map(|output| MadeOutput {
        name: output.name.filter(|name| names.takes(name)),
        source: match output.source {
            OutputSource::Url(url) if url.len() > MAX_URL || !urls.takes(&url) => {
                OutputSource::Prediction
            }
            source => source,
        },
    });
    outputs.collect()
}

/// Number of bytes that texts may still take.
struct Budget(usize);

impl Budget {
    /// Returns true if the text fits as JSON; then its length is deducted.
    fn takes(&mut self, text: &str) -> bool {
        let bytes = serde_json::to_string(text).map_or(usize::MAX, |json| json.len());
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::Prediction;

    #[test]
    fn outputs_beyond_the_history_limit_lose_their_urls() {
        let output = |index: usize| MadeOutput {
            name: Some(format!("{index}-{}", "\"".repeat(198))),
            source: OutputSource::Url(format!("https://example.com/{index}/{}", "a".repeat(1000))),
        };
        let state = json!({"name": "replicate", "prediction_id": "p", "status": "succeeded"});
        let state = serde_json::from_value(state).unwrap();
        let ended = Prediction::new(state, (0..1500).map(output).collect(), false);
        let has_url = |output: &&MadeOutput| output.source != OutputSource::Prediction;
        assert_eq!(ended.outputs.len(), 1000);
        assert_eq!(ended.state.outputs_made, Some(1500));
        assert_eq!(ended.outputs.iter().filter(has_url).count(), 511);
        assert!(ended.outputs[0].name.is_some() && ended.outputs[999].name.is_none());
        assert!(serde_json::to_vec(&ended).unwrap().len() < 1024 * 1024);
    }
}
