//! Files in a prediction's output, which is arbitrary JSON. It is parsed in one pass: files within
//! the answer itself may be large, and are skipped unless one of them is requested. The rest of the
//! output is kept if it is small.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};
use url::Url;

use crate::provider::{Output, Place};

/// Limit of what is kept of an output beside its files, in bytes of its texts and names.
const MAX_REST: usize = 64 * 1024;

/// Limit of a file's name, in characters.
const MAX_NAME: usize = 200;

/// Files of an output. They may be anywhere in it: a string, a list, an object, nested. Other
/// strings are text. An output without a single file is a file itself, so that it can be stored.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) files: Vec<Output>,
    /// Output with `{"media": position}` in place of each file; null if there is nothing else in
    /// it, or too much.
    pub(super) rest: Value,
    /// True if there is an output at all.
    pub(super) is_some: bool,
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Found::deserialize(deserializer)?.into_files())
    }
}

/// Returns the file at this position of an answer's output, as a URL.
pub(super) fn nth(answer: &[u8], position: usize) -> Result<Option<String>, serde_json::Error> {
    /// Answer of which only the output is parsed.
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        output: Found,
    }

    let found = serde_json::from_slice::<Answer>(answer)?.output;
    if found.positions().next().is_none() {
        return if found.has_more && position == 0 {
            whole(answer).map(Some)
        } else {
            Ok(None)
        };
    }
    let Some(number) = found.positions().nth(position) else {
        return Ok(None);
    };
    let mut text = None;
    let wanted = Wanted(number, &mut text);
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

/// Location of a file, if the whole string is its URL or a `data:` URL.
fn place(text: &str) -> Option<Place> {
    if text.starts_with("data:") && text.contains(',') {
        return Some(Place::Inline);
    }
    let is_http = text.starts_with("https:") || text.starts_with("http:");
    let is_whole = !text.contains(char::is_whitespace);
    let is_address = is_http && is_whole && Url::parse(text).is_ok_and(|url| url.has_host());
    is_address.then(|| Place::Url(text.to_owned()))
}

/// Items that were found in an output, and the rest of it.
#[derive(Debug, Default)]
struct Found {
    items: Vec<Item>,
    /// Flag of each list: true if it has nothing but files and nulls. A list within the output must
    /// have at least one file as well.
    lists: Vec<bool>,
    rest: Value,
    /// True if there is anything beside unnamed files.
    has_more: bool,
    is_some: bool,
}

/// File, or a null in the place of one.
#[derive(Debug)]
struct Item {
    name: Option<String>,
    place: Place,
    /// List that a null is in: the file was withheld if it is a list of files.
    list: Option<usize>,
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reading(None).deserialize(deserializer)
    }
}

/// Seed that parses an output, and captures the text of one of its items.
struct Reading<'a>(Option<Wanted<'a>>);

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        let mut found = Found::default();
        let mut walk = Walk {
            found: &mut found,
            path: Vec::new(),
            budget: MAX_REST,
            is_null: false,
            wanted: self.0,
        };
        let rest = Step(&mut walk).deserialize(deserializer)?;
        let fits = walk.budget > 0;
        found.is_some = !rest.is_null() || !found.items.is_empty();
        found.rest = if fits { rest } else { Value::Null };
        Ok(found)
    }
}

impl Found {
    /// Numbers of the items that are outputs, in order.
    fn positions(&self) -> impl Iterator<Item = usize> {
        let is_output = |item: &Item| item.list.is_none_or(|list| self.lists[list]);
        let numbered = self.items.iter().enumerate();
        numbered
            .filter(move |(_, item)| is_output(item))
            .map(|(number, _)| number)
    }

    fn into_files(mut self) -> Files {
        let positions: Vec<_> = self.positions().collect();
        let rest = if self.has_more {
            placed(std::mem::take(&mut self.rest), &positions)
        } else {
            Value::Null
        };
        let mut numbered = self.items.into_iter().enumerate();
        let files = positions.iter().filter_map(|position| {
            let (_, item) = numbered.find(|(number, _)| number == position)?;
            Some(Output {
                name: item.name,
                place: item.place,
            })
        });
        let mut files: Vec<_> = files.collect();
        if files.is_empty() && self.has_more {
            files.push(Output {
                name: None,
                place: Place::Inline,
            });
        }
        Files {
            files,
            rest,
            is_some: self.is_some,
        }
    }
}

/// Key that marks an item in the rest of an output, until its position is known.
const MARK: &str = "\0item";

/// Replaces the marks in the rest of an output by positions.
fn placed(rest: Value, positions: &[usize]) -> Value {
    match rest {
        Value::Array(items) => items
            .into_iter()
            .map(|item| placed(item, positions))
            .collect(),
        Value::Object(fields) => {
            if let Some(number) = fields.get(MARK).and_then(Value::as_u64) {
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                return match positions.binary_search(&number) {
                    Ok(position) => json!({"media": position}),
                    Err(_) => Value::Null,
                };
            }
            let placed = fields
                .into_iter()
                .map(|(name, value)| (name, placed(value, positions)));
            Value::Object(placed.collect())
        }
        other => other,
    }
}

/// State of the walk through an output.
struct Walk<'a> {
    found: &'a mut Found,
    path: Vec<Segment>,
    /// Number of bytes that may still be kept.
    budget: usize,
    /// True if the last value was a null, as opposed to a value that is not kept.
    is_null: bool,
    wanted: Option<Wanted<'a>>,
}

enum Segment {
    Key(String),
    Index(usize),
}

impl Walk<'_> {
    /// Records an item, and returns its mark.
    fn item(&mut self, place: Place, list: Option<usize>) -> Value {
        let number = self.found.items.len();
        let name = self.name();
        self.found.has_more |= name.is_some();
        self.found.items.push(Item { name, place, list });
        json!({MARK: number})
    }

    /// Path of the current item; `None` if it is no more than a position.
    fn name(&self) -> Option<String> {
        if let [] | [Segment::Index(_)] = self.path.as_slice() {
            return None;
        }
        let mut name = String::new();
        for segment in &self.path {
            match segment {
                Segment::Key(key) if name.is_empty() => name += key,
                Segment::Key(key) => name.extend([".", key]),
                Segment::Index(index) => name.extend(["[", &index.to_string(), "]"]),
            }
        }
        let visible = name.chars().filter(|character| !character.is_control());
        Some(visible.take(MAX_NAME).collect())
    }

    /// Keeps a value of this many bytes, unless the budget is used up.
    fn keep(&mut self, bytes: usize, value: impl Into<Value>) -> Value {
        self.found.has_more = true;
        self.budget = self.budget.saturating_sub(bytes.max(1));
        if self.budget == 0 {
            return Value::Null;
        }
        value.into()
    }
}

/// Seed and visitor of one step of the walk: any value.
struct Step<'a, 'b>(&'a mut Walk<'b>);

impl<'de> DeserializeSeed<'de> for Step<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_, '_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(self.0.keep(1, value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.0.keep(8, value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(self.0.keep(8, value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.0.keep(8, value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        self.0.is_null = true;
        Ok(Value::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        let Self(walk) = self;
        if text.is_empty() {
            return Ok(text.into());
        }
        let Some(place) = place(text) else {
            return Ok(walk.keep(text.len(), text));
        };
        if let Some(Wanted(number, found)) = &mut walk.wanted
            && *number == walk.found.items.len()
        {
            **found = Some(text.to_owned());
        }
        Ok(walk.item(place, None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Self(walk) = self;
        let list = walk.found.lists.len();
        walk.found.lists.push(false);
        let is_output = walk.path.is_empty();
        let (mut values, mut others, mut has_file) = (Vec::new(), false, false);
        for index in 0.. {
            walk.path.push(Segment::Index(index));
            walk.is_null = false;
            let value = items.next_element_seed(Step(&mut *walk))?;
            let value = match value {
                Some(Value::Null) if walk.is_null && walk.budget > 0 => {
                    walk.budget -= 1;
                    Some(walk.item(Place::Withheld, Some(list)))
                }
                Some(value) => {
                    let is_file = value.get(MARK).is_some();
                    has_file |= is_file;
                    others |= !is_file;
                    Some(value)
                }
                None => None,
            };
            walk.path.pop();
            match value {
                Some(value) if walk.budget > 0 => values.push(value),
                Some(_) => {}
                None => break,
            }
        }
        walk.is_null = false;
        walk.found.lists[list] = !others && (has_file || (is_output && !values.is_empty()));
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let Self(walk) = self;
        let mut kept = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            walk.budget = walk.budget.saturating_sub(key.len() + 1);
            walk.path.push(Segment::Key(key.clone()));
            let value = fields.next_value_seed(Step(&mut *walk))?;
            walk.path.pop();
            if walk.budget > 0 {
                kept.insert(key, value);
            }
        }
        Ok(Value::Object(kept))
    }
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
    use super::*;

    fn files(output: &Value) -> Files {
        serde_json::from_value(output.clone()).unwrap()
    }

    fn url(name: Option<&str>, text: &str) -> Output {
        Output {
            name: name.map(str::to_owned),
            place: Place::Url(text.to_owned()),
        }
    }

    fn other(name: Option<&str>, place: Place) -> Output {
        Output {
            name: name.map(str::to_owned),
            place,
        }
    }

    #[test]
    fn files_are_found_wherever_they_are_and_keep_their_places() {
        assert!(!files(&Value::Null).is_some);
        for nothing in [json!([]), json!({}), json!(""), json!({"images": []})] {
            assert_eq!(files(&nothing).files, [], "{nothing}");
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
                    other(None, Place::Withheld),
                    url(None, "https://a/2"),
                    other(None, Place::Withheld),
                ],
            ),
            (json!([null]), vec![other(None, Place::Withheld)]),
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
                vec![other(Some("a.b[0]"), Place::Inline)],
            ),
            (json!(["caption", null]), vec![other(None, Place::Inline)]),
            (
                json!({"text": "a", "chunks": [{"timestamp": [29.9, null]}], "speakers": [null]}),
                vec![other(None, Place::Inline)],
            ),
            (
                json!({"image": "https://a/1", "embeddings": vec![vec![0.5; 1024]; 20]}),
                vec![url(Some("image"), "https://a/1")],
            ),
            (
                json!(["https://a/1", "x".repeat(70_000)]),
                vec![url(None, "https://a/1")],
            ),
            // A string that is not a URL as a whole is text, and an output without a file is one
            // itself.
            (json!("just text"), vec![other(None, Place::Inline)]),
            (
                json!("https://a/1 and more"),
                vec![other(None, Place::Inline)],
            ),
            (json!("/tmp/out.png"), vec![other(None, Place::Inline)]),
            (
                json!({"text": "a", "scores": [1, 2]}),
                vec![other(None, Place::Inline)],
            ),
        ] {
            assert_eq!(files(&output).files, expected, "{output}");
        }
    }

    #[test]
    fn the_rest_of_an_output_is_kept_with_positions_for_files() {
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
            assert_eq!(files(&output).rest, expected);
        }
    }

    #[test]
    fn one_file_is_read_out_of_an_answer() {
        let answer = json!({
            "id": "x", "input": {"image": "https://input/1"},
            "output": {"caption": "text", "files": ["data:text/plain,x", null, "https://a/2"]},
        });
        let nth = |answer: &Value, position| nth(answer.to_string().as_bytes(), position).unwrap();
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
}
