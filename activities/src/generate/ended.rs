//! A prediction that has ended, cut to what a job carries and a history holds: a payload must stay
//! below 1 MiB.

use darkroom_workflows::job::{MAX_OUTPUTS, MadeOutput, OutputSource, Prediction, ProviderState};

/// Maximum length of a URL in a history, in bytes; a longer one is read from the prediction when it
/// is needed.
const MAX_URL: usize = 2048;

/// Maximum length of all URLs of a prediction, in bytes; those beyond are read from the prediction
/// as well.
const MAX_ADDRESSES: usize = 512 * 1024;

/// Maximum length of all names of outputs, in bytes; those beyond are left out.
const MAX_NAMES: usize = 128 * 1024;

/// Cuts a prediction to what a job carries and a history holds.
pub(super) fn fit_history(prediction: Prediction) -> Prediction {
    let made = u32::try_from(prediction.outputs.len()).ok();
    let (mut names, mut addresses) = (Budget(MAX_NAMES), Budget(MAX_ADDRESSES));
    let outputs = prediction.outputs.into_iter().take(MAX_OUTPUTS);
    let outputs = outputs.map(|output| MadeOutput {
        name: output.name.filter(|name| names.takes(name)),
        source: match output.source {
            OutputSource::Url(url) if url.len() > MAX_URL || !addresses.takes(&url) => {
                OutputSource::Prediction
            }
            source => source,
        },
    });
    Prediction {
        outputs: outputs.collect(),
        state: ProviderState {
            outputs_made: made,
            ..prediction.state
        },
        data_removed: prediction.data_removed,
    }
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

    #[test]
    fn outputs_beyond_the_history_limit_lose_their_urls() {
        let output = |index: usize| MadeOutput {
            name: Some(format!("{index}-{}", "\"".repeat(198))),
            source: OutputSource::Url(format!("https://example.com/{index}/{}", "a".repeat(1000))),
        };
        let state = json!({"name": "replicate", "prediction_id": "p", "status": "succeeded"});
        let ended = fit_history(Prediction {
            state: serde_json::from_value(state).unwrap(),
            outputs: (0..1500).map(output).collect(),
            data_removed: false,
        });
        let has_url = |output: &&MadeOutput| output.source != OutputSource::Prediction;
        assert_eq!(ended.outputs.len(), 1000);
        assert_eq!(ended.state.outputs_made, Some(1500));
        assert_eq!(ended.outputs.iter().filter(has_url).count(), 511);
        assert!(ended.outputs[0].name.is_some() && ended.outputs[999].name.is_none());
        assert!(serde_json::to_vec(&ended).unwrap().len() < 1024 * 1024);
    }
}
