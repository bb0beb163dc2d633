//! What a request may tell this provider to do: `input.dev`.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What a request may ask of this provider beside pictures: `input.dev`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Script {
    /// How long to take.
    #[serde(rename = "latency_ms", deserialize_with = "milliseconds")]
    pub latency: Option<Duration>,
    /// Answer the create call with this status and create nothing.
    pub refuse: Option<u16>,
    /// Say so with a list of what is wrong where, as some do.
    pub refuse_with_list: bool,
    /// Answer the create call with this status, whether the work is taken or not: see `taken_after_ms`.
    pub answer_status: Option<u16>,
    /// Answer it with a page of HTML, as gateways do, instead of the provider's own JSON.
    pub answer_html: bool,
    /// Take the work this long after that answer; never if absent.
    #[serde(rename = "taken_after_ms", deserialize_with = "milliseconds")]
    pub taken_after: Option<Duration>,
    /// Create, and take this long to answer.
    #[serde(rename = "answer_delay_ms", deserialize_with = "milliseconds")]
    pub answer_delay: Option<Duration>,
    /// Create, and break off the answer.
    pub drop_answer: bool,
    /// Do not show in the list.
    pub hidden: bool,
    /// The same for this long only.
    #[serde(rename = "hidden_for_ms", deserialize_with = "milliseconds")]
    pub hidden_for: Option<Duration>,
    /// Do not know the prediction for this long when it is read.
    #[serde(rename = "not_found_for_ms", deserialize_with = "milliseconds")]
    pub not_found_for: Option<Duration>,
    /// Say that it is `booting` for this long.
    #[serde(rename = "booting_for_ms", deserialize_with = "milliseconds")]
    pub booting_for: Option<Duration>,
    /// Say that it has succeeded this long before there are outputs.
    #[serde(rename = "outputs_after_ms", deserialize_with = "milliseconds")]
    pub outputs_after: Option<Duration>,
    /// Write half a surrogate pair into a text, and times without a zone.
    pub sloppy: bool,
    /// Write this many bytes of logs once it has ended, so that the answer is large.
    pub log_bytes: usize,
    /// How often to report the end: 0 for never.
    pub webhooks: u32,
    /// Put the files into the prediction itself, as `data:` URLs, nested in an object.
    pub inline: bool,
    /// Fail with these words instead of making anything.
    pub fail: Option<String>,
    /// Make this many files, whatever `num_outputs` says.
    pub outputs: Option<u32>,
    /// Answer with this, in which `{N}` stands for the address of the file at position N.
    pub output: Option<Value>,
    /// Have made the files although it failed.
    pub fails_with_outputs: bool,
    /// Do not have these files when they are fetched, and say that they are gone.
    pub missing: BTreeSet<u32>,
    /// Do not have the missing files for this long only.
    #[serde(rename = "missing_for_ms", deserialize_with = "milliseconds")]
    pub missing_for: Option<Duration>,
    /// Fail the first fetches of each file.
    pub fail_fetches: u32,
    /// Keep files for this long instead of an hour.
    #[serde(rename = "retention_ms", deserialize_with = "milliseconds")]
    pub retention: Option<Duration>,
    /// Say that the files are at these addresses.
    pub urls: Option<Vec<String>>,
    /// Say that they are at these once the end was read before: links move.
    pub urls_later: Option<Vec<String>>,
    /// Make files of this many bytes instead of pictures.
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
            missing_for: None,
            fail_fetches: 0,
            retention: None,
            urls: None,
            urls_later: None,
            bytes: None,
        }
    }
}

impl Script {
    /// Reads it from a prediction's input.
    ///
    /// # Errors
    /// If it makes no sense.
    pub fn of(input: &Map<String, Value>) -> Result<Self, serde_json::Error> {
        input
            .get("dev")
            .map_or_else(|| Ok(Self::default()), Self::deserialize)
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}
