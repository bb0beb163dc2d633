//! Fields typed on the command line, with the syntax of `HTTPie`: `key=text`, `key=@file` and
//! `key:=json`.

use std::{io::Read, path::Path, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

/// Largest file that is read, in bytes: the api's limit of a job's input.
const MAX_FILE: u64 = 256 * 1024;

/// A name and a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    name: String,
    value: Typed,
}

#[derive(Clone, Debug, PartialEq)]
enum Typed {
    Text(String),
    File(String),
    Json(Value),
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "must be key=text, key=@file or key:=json";
        let (name, value) = text.split_once('=').ok_or(shape)?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let json = serde_json::from_str(value)
                    .map_err(|error| format!("{value:?} is not valid JSON: {error}"))?;
                (name, Typed::Json(json))
            }
            None => match value.strip_prefix('@') {
                Some(path) => (name, Typed::File(path.to_owned())),
                None => (name, Typed::Text(value.to_owned())),
            },
        };
        if name.is_empty() {
            return Err(shape.to_owned());
        }
        let name = name.to_owned();
        Ok(Self { name, value })
    }
}

/// Parses an argument by the type's own rules.
pub(super) fn parsed<T: TryFrom<String>>(text: &str) -> Result<T, T::Error> {
    T::try_from(text.to_owned())
}

/// Collects fields into an object. Files are read: text as it is, other bytes as a `data:` URL,
/// which models accept as a file.
pub(super) fn object(fields: &[Field]) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for Field { name, value } in fields {
        let value = match value {
            Typed::Text(text) => Value::from(text.as_str()),
            Typed::Json(json) => json.clone(),
            Typed::File(path) => Value::from(read(Path::new(path))?),
        };
        ensure!(
            object.insert(name.clone(), value).is_none(),
            "{name} is given twice"
        );
    }
    Ok(object)
}

fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {shown}"))?;
    if bytes.len() as u64 > MAX_FILE {
        bail!(
            "{shown} is longer than a request may be ({MAX_FILE} bytes); give the model a URL of it"
        );
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let bytes = error.into_bytes();
            let kind =
                infer::get(&bytes).map_or("application/octet-stream", |kind| kind.mime_type());
            format!("data:{kind};base64,{}", BASE64_STANDARD.encode(bytes))
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(fields: &[&str]) -> Result<Value> {
        let fields: Vec<Field> = fields.iter().map(|field| field.parse().unwrap()).collect();
        object(&fields).map(Value::Object)
    }

    #[test]
    fn fields_parse() {
        let directory = tempfile::tempdir().unwrap();
        let (text, picture) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&text, "words").unwrap();
        std::fs::write(&picture, b"\x89PNG\r\n\x1a\n\xff").unwrap();
        let (text, picture) = (
            format!("words=@{}", text.display()),
            format!("image=@{}", picture.display()),
        );
        let fields = [
            "ratio=16:9",
            "steps:=4",
            "url=https://x/?a=b",
            "empty=",
            &text,
            &picture,
        ];
        let expected = json!({
            "ratio": "16:9",
            "steps": 4,
            "url": "https://x/?a=b",
            "empty": "",
            "words": "words",
            "image": "data:image/png;base64,iVBORw0KGgr/",
        });
        assert_eq!(of(&fields).unwrap(), expected);
    }

    #[test]
    fn invalid_fields_are_refused() {
        for text in ["", "key", "=value", ":=1", "key:={"] {
            assert!(text.parse::<Field>().is_err(), "{text}");
        }
        assert!(of(&["a=1", "a=2"]).is_err());
        assert!(of(&["a=@/nowhere"]).is_err());
    }
}
