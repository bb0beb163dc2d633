//! Instructions that a request gives to this provider in `input.dev`: faults, delays and special
//! outputs.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Instructions for one prediction, from `input.dev`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Script {
    /// Duration of the prediction.
    #[serde(rename = "latency_ms", deserialize_with = "milliseconds")]
    pub latency: Option<Duration>,
    /// Status code of the create call's response. Nothing is created.
    pub refuse: Option<u16>,
    /// True to put a list of invalid fields into `detail` of that response, as some models do.
    pub refuse_with_list: bool,
    /// Status code of the create call's response, whether or not the prediction is created: see
    /// `taken_after_ms`.
    pub answer_status: Option<u16>,
    /// True to make that response an HTML page, as gateways do, instead of JSON.
    pub answer_html: bool,
    /// Time after that response when the prediction is created; never if absent.
    #[serde(rename = "taken_after_ms", deserialize_with = "milliseconds")]
    pub taken_after: Option<Duration>,
    /// Delay of the create call's response. The prediction is created first.
    #[serde(rename = "answer_delay_ms", deserialize_with = "milliseconds")]
    pub answer_delay: Option<Duration>,
    /// True to break off the create call's response. The prediction is created.
    pub drop_answer: bool,
    /// True to omit the prediction from the list.
    pub hidden: bool,
    /// Time during which the list omits the prediction.
    #[serde(rename = "hidden_for_ms", deserialize_with = "milliseconds")]
    pub hidden_for: Option<Duration>,
    /// Time during which reading the prediction returns 404.
    #[serde(rename = "not_found_for_ms", deserialize_with = "milliseconds")]
    pub not_found_for: Option<Duration>,
    /// Time during which reading the prediction shows it before its end, with its first file.
    #[serde(rename = "lags_for_ms", deserialize_with = "milliseconds")]
    pub lags_for: Option<Duration>,
    /// Number of cancel calls that are answered with 503 first, without effect.
    pub refuse_cancels: u32,
    /// Time during which the status is `booting`.
    #[serde(rename = "booting_for_ms", deserialize_with = "milliseconds")]
    pub booting_for: Option<Duration>,
    /// Time between the status `succeeded` and the outputs.
    #[serde(rename = "outputs_after_ms", deserialize_with = "milliseconds")]
    pub outputs_after: Option<Duration>,
    /// True to write half a surrogate pair into `logs`, and times without a zone.
    pub sloppy: bool,
    /// Length of `logs` after the end, in bytes, to make the response large.
    pub log_bytes: usize,
    /// Number of reports of the end; 0 for none.
    pub webhooks: u32,
    /// True to inline the files as `data:` URLs, nested in an object.
    pub inline: bool,
    /// Error message of a prediction that fails.
    pub fail: Option<String>,
    /// Number of files, which overrides `num_outputs`.
    pub outputs: Option<u32>,
    /// Value of `output`, in which `{N}` is replaced by the URL of file N.
    pub output: Option<Value>,
    /// True if a failed prediction has outputs nevertheless.
    pub fails_with_outputs: bool,
    /// Positions of files that return 410 when they are fetched.
    pub missing: BTreeSet<u32>,
    /// Number of fetches of each file that fail with 503 first.
    pub fail_fetches: u32,
    /// Time until files are removed, instead of an hour.
    #[serde(rename = "retention_ms", deserialize_with = "milliseconds")]
    pub retention: Option<Duration>,
    /// URLs to return as `output`.
    pub urls: Option<Vec<String>>,
    /// URLs to return as `output` from the second read after the end on: links move.
    pub urls_later: Option<Vec<String>>,
    /// Length of filler files in bytes, instead of pictures.
    pub bytes: Option<usize>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            latency: None,
            refuse: None,
            refuse_with_list: false,
            answer_status: None,
            answer_html: false,
            taken_after: None,
            not_found_for: None,
            lags_for: None,
            refuse_cancels: 0,
            booting_for: None,
            outputs_after: None,
            sloppy: false,
            log_bytes: 0,
            answer_delay: None,
            drop_answer: false,
            hidden: false,
            hidden_for: None,
            webhooks: 1,
            inline: false,
            fail: None,
            outputs: None,
            output: None,
            fails_with_outputs: false,
            missing: BTreeSet::new(),
            fail_fetches: 0,
            retention: None,
            urls: None,
            urls_later: None,
            bytes: None,
        }
    }
}

impl Script {
    /// Reads the instructions from a prediction's input.
    ///
    /// # Errors
    /// If they are malformed.
    pub fn of(input: &Map<String, Value>) -> Result<Self, serde_json::Error> {
        input
            .get("dev")
            .map_or_else(|| Ok(Self::default()), Self::deserialize)
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}
