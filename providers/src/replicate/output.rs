//! Files in a prediction's output, which is arbitrary JSON. It is parsed in one pass: files within
//! the answer itself may be large, and are skipped unless one of them is requested. The rest of the
//! output is kept if it is small.
//!
//! - `parser`: the pass over the JSON
//! - `found`: the files and the rest that it finds, and the positions of the files

mod found;
mod parser;

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use darkroom_workflows::job::MadeOutput;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

pub(super) use self::found::Found;
use self::parser::Reading;

/// Returns a file of an answer's output, as a URL: the one with this name or, without a name, the
/// one at this position. The order of an object's fields differs between the provider's answers.
pub(super) fn file(
    answer: &[u8],
    position: usize,
    name: Option<&str>,
) -> Result<Option<String>, serde_json::Error> {
    /// Answer of which only the output is parsed.
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        output: Found,
    }

    let found = serde_json::from_slice::<Answer>(answer)?.output;
    let has_name = |output: &MadeOutput| name.is_none() || output.name.as_deref() == name;
    // Names are cut, so more than one output may have it.
    let position = match found.outputs.get(position) {
        Some(output) if has_name(output) => Some(position),
        _ if name.is_some() => found.outputs.iter().position(has_name),
        _ => None,
    };
    let Some(position) = position else {
        return Ok(None);
    };
    let Some(number) = found.numbers.get(position) else {
        return whole(answer).map(Some);
    };
    let mut text = None;
    let wanted = Wanted(*number, &mut text);
    serde_json::Deserializer::from_slice(answer).deserialize_map(wanted)?;
    Ok(text)
}

/// Converts the output itself into a file: plain text if it is a string, else JSON.
fn whole(answer: &[u8]) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer {
        output: Value,
    }

    let output = serde_json::from_slice::<Answer>(answer)?.output;
    let (content_type, text) = match output {
        Value::String(text) => ("text/plain", text),
        other => ("application/json", serde_json::to_string_pretty(&other)?),
    };
    let encoded = BASE64_STANDARD.encode(text);
    Ok(format!("data:{content_type};base64,{encoded}"))
}

/// Number of the requested item, and the destination of its text.
struct Wanted<'a>(usize, &'a mut Option<String>);

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a prediction")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "output" {
                map.next_value_seed(Reading(Some(Wanted(self.0, &mut *self.1))))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use darkroom_workflows::job::OutputSource;
    use serde_json::json;

    use super::*;

    fn found(output: &Value) -> Found {
        serde_json::from_value(output.clone()).unwrap()
    }

    fn url(name: Option<&str>, text: &str) -> MadeOutput {
        other(name, OutputSource::Url(text.to_owned()))
    }

    fn other(name: Option<&str>, source: OutputSource) -> MadeOutput {
        MadeOutput {
            name: name.map(str::to_owned),
            source,
        }
    }

    #[test]
    fn files_are_found_in_order_at_any_depth() {
        assert!(!found(&Value::Null).is_some);
        for nothing in [json!([]), json!({}), json!(""), json!({"images": []})] {
            assert_eq!(found(&nothing).outputs, [], "{nothing}");
        }
        for (output, expected) in [
            (json!("https://a/1"), vec![url(None, "https://a/1")]),
            (
                json!(["https://a/1", "caption", 3, null, true, "https://a/2"]),
                vec![url(None, "https://a/1"), url(None, "https://a/2")],
            ),
            (
                json!(["https://a/1", null, "https://a/2", null]),
                vec![
                    url(None, "https://a/1"),
                    other(None, OutputSource::Withheld),
                    url(None, "https://a/2"),
                    other(None, OutputSource::Withheld),
                ],
            ),
            (json!([null]), vec![other(None, OutputSource::Withheld)]),
            (
                json!({"vocals": "https://a/v", "drums": null, "bpm": 120}),
                vec![url(Some("vocals"), "https://a/v")],
            ),
            (
                json!({"stems": [{"stem": "bass", "url": "https://a/b"}, {"stem": "other", "url": "https://a/o"}]}),
                vec![
                    url(Some("stems[0].url"), "https://a/b"),
                    url(Some("stems[1].url"), "https://a/o"),
                ],
            ),
            (
                json!({"a": {"b": ["data:text/plain,x"]}, "n": 3.5, "https:": -1}),
                vec![other(Some("a.b[0]"), OutputSource::Prediction)],
            ),
            (
                json!(["caption", null]),
                vec![other(None, OutputSource::Prediction)],
            ),
            (
                json!({"text": "a", "chunks": [{"timestamp": [29.9, null]}], "speakers": [null]}),
                vec![other(None, OutputSource::Prediction)],
            ),
            (
                json!({"image": "https://a/1", "embeddings": vec![vec![0.5; 1024]; 20]}),
                vec![url(Some("image"), "https://a/1")],
            ),
            (
                json!(["https://a/1", "x".repeat(70_000)]),
                vec![url(None, "https://a/1")],
            ),
            (
                json!("data: one, two"),
                vec![other(None, OutputSource::Prediction)],
            ),
            (
                json!(["https://a/1", "data:,x", "data: one, two", "data:one,two"]),
                vec![
                    url(None, "https://a/1"),
                    other(None, OutputSource::Prediction),
                ],
            ),
            // A string that is not a URL as a whole is text, and an output without a file is one
            // itself.
            (
                json!("just text"),
                vec![other(None, OutputSource::Prediction)],
            ),
            (
                json!("https://a/1 and more"),
                vec![other(None, OutputSource::Prediction)],
            ),
            (
                json!("/tmp/out.png"),
                vec![other(None, OutputSource::Prediction)],
            ),
            (
                json!({"text": "a", "scores": [1, 2]}),
                vec![other(None, OutputSource::Prediction)],
            ),
        ] {
            assert_eq!(found(&output).outputs, expected, "{output}");
        }
    }

    #[test]
    fn the_rest_of_an_output_refers_to_files_by_position() {
        for (output, expected) in [
            (json!("https://a/1"), Value::Null),
            (json!(["https://a/1", null]), Value::Null),
            (json!("a caption"), json!("a caption")),
            (
                json!({"seed": 7, "files": ["https://a/1", "https://a/2"], "safe": true}),
                json!({"seed": 7, "files": [{"media": 0}, {"media": 1}], "safe": true}),
            ),
            (
                json!(["https://a/1", "caption", null, "https://a/2"]),
                json!([{"media": 0}, "caption", null, {"media": 1}]),
            ),
            (
                json!({"text": "x".repeat(70_000), "file": "https://a/1"}),
                Value::Null,
            ),
        ] {
            assert_eq!(found(&output).rest, expected);
        }
    }

    #[test]
    fn one_file_is_read_by_position() {
        let answer = json!({
            "id": "x", "input": {"image": "https://input/1"},
            "output": {"caption": "text", "files": ["data:text/plain,x", null, "https://a/2"]},
        });
        let nth =
            |answer: &Value, position| file(answer.to_string().as_bytes(), position, None).unwrap();
        assert_eq!(nth(&answer, 0).as_deref(), Some("data:text/plain,x"));
        assert_eq!(nth(&answer, 1), None);
        assert_eq!(nth(&answer, 2).as_deref(), Some("https://a/2"));
        assert_eq!(nth(&answer, 3), None);
        for (output, expected) in [
            (json!("hi"), Some("data:text/plain;base64,aGk=")),
            (
                json!([1]),
                Some("data:application/json;base64,WwogIDEKXQ=="),
            ),
            (Value::Null, None),
        ] {
            let answer = json!({"id": "x", "output": output});
            assert_eq!(nth(&answer, 0).as_deref(), expected);
        }
    }

    #[test]
    fn a_file_is_found_by_its_name_in_any_order() {
        let answers = [
            r#"{"output": {"accompaniment": "https://a/1", "vocals": "https://a/2"}}"#,
            r#"{"output": {"vocals": "https://a/2", "accompaniment": "https://a/1"}}"#,
        ];
        for answer in answers {
            let find = |name| file(answer.as_bytes(), 0, Some(name)).unwrap();
            assert_eq!(find("accompaniment").as_deref(), Some("https://a/1"));
            assert_eq!(find("vocals").as_deref(), Some("https://a/2"));
            assert_eq!(find("drums"), None);
        }
        let alike = br#"{"output": {"a.b": "https://a/1", "a": {"b": "https://a/2"}}}"#;
        for (position, expected) in ["https://a/1", "https://a/2"].into_iter().enumerate() {
            let found = file(alike, position, Some("a.b")).unwrap();
            assert_eq!(found.as_deref(), Some(expected));
        }
        let text = br#"{"output": {"vocals": "none"}}"#;
        assert_eq!(file(text, 0, Some("vocals")).unwrap(), None);
    }
}
