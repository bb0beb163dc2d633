//! Finding the files in a prediction's output, which is any JSON. It is read in one go: files that are in the answer itself may
//! be large, and are skipped unless one is asked for.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::provider::Output;

/// The files of an output. They may be anywhere in it: a string, a list, an object, nested. Other strings are text.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) files: Vec<Output>,
    /// Whether there is no output at all.
    pub(super) is_null: bool,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            is_null: true,
        }
    }
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut files = Vec::new();
        let is_null = Walk(&mut |text: &str| {
            if text.starts_with("data:") {
                files.push(Output::Inline);
            } else if text.starts_with("https:") || text.starts_with("http:") {
                files.push(Output::Url(text.to_owned()));
            }
        })
        .deserialize(deserializer)?;
        Ok(Self { files, is_null })
    }
}

/// The file at this position of the output in an answer, as a URL.
pub(super) fn nth(answer: &[u8], position: usize) -> Result<Option<String>, serde_json::Error> {
    struct Output<'a>(usize, &'a mut Option<String>);

    impl<'de> Visitor<'de> for Output<'_> {
        type Value = ();

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a prediction")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let Self(mut position, found) = self;
            while let Some(key) = map.next_key::<String>()? {
                if key != "output" {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                map.next_value_seed(Walk(&mut |text: &str| {
                    let is_file = ["https:", "http:", "data:"]
                        .iter()
                        .any(|scheme| text.starts_with(scheme));
                    match position {
                        _ if !is_file => {}
                        0 if found.is_none() => *found = Some(text.to_owned()),
                        _ => position = position.saturating_sub(1),
                    }
                }))?;
            }
            Ok(())
        }
    }

    let mut found = None;
    serde_json::Deserializer::from_slice(answer).deserialize_map(Output(position, &mut found))?;
    Ok(found)
}

/// Shows every string of a JSON value, in order. Yields whether the value is null.
struct Walk<'a>(&'a mut dyn FnMut(&str));

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        (self.0)(text);
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        while items.next_element_seed(Walk(&mut *self.0))?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        while fields.next_key::<IgnoredAny>()?.is_some() {
            fields.next_value_seed(Walk(&mut *self.0))?;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn url(text: &str) -> Output {
        Output::Url(text.to_owned())
    }

    #[test]
    fn files_are_found_wherever_they_are() {
        let files = |output: Value| serde_json::from_value::<Files>(output).unwrap();
        assert!(files(Value::Null).is_null);
        for (output, expected) in [
            (json!("just text"), vec![]),
            (json!("https://a/1"), vec![url("https://a/1")]),
            (
                json!(["https://a/1", "caption", 3, null, true, "https://a/2"]),
                vec![url("https://a/1"), url("https://a/2")],
            ),
            (
                json!({"a": {"b": ["data:text/plain,x"]}, "n": 3.5, "https:": -1}),
                vec![Output::Inline],
            ),
        ] {
            let found = files(output.clone());
            assert_eq!((found.files, found.is_null), (expected, false), "{output}");
        }
    }

    #[test]
    fn one_file_is_read_out_of_an_answer() {
        let answer = json!({
            "id": "x", "input": {"image": "https://input/1"},
            "output": {"caption": "text", "files": ["data:text/plain,x", "https://a/2"]},
        });
        let answer = answer.to_string();
        let nth = |position| nth(answer.as_bytes(), position).unwrap();
        assert_eq!(nth(0).as_deref(), Some("data:text/plain,x"));
        assert_eq!(nth(1).as_deref(), Some("https://a/2"));
        assert_eq!(nth(2), None);
    }
}
