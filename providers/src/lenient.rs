//! Lenient parsing of JSON that providers send: an invalid value costs that value, not the whole
//! document.

use std::borrow::Cow;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Parses JSON. Lone surrogates in strings, and bytes that are not UTF-8, become U+FFFD.
///
/// # Errors
/// If the text is not JSON of this shape nevertheless.
pub(crate) fn from_slice<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
) -> Result<T, serde_json::Error> {
    with_repair(bytes, |bytes| serde_json::from_slice(bytes))
}

/// Parses bytes; if that fails and there is anything to replace, parses what is left of them.
pub(crate) fn with_repair<T>(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
) -> Result<T, serde_json::Error> {
    parse(bytes).or_else(|error| match replace_invalid(bytes) {
        Some(repaired) => parse(repaired.as_bytes()),
        None => Err(error),
    })
}

/// Replaces lone surrogates and bytes that are not UTF-8; `None` if there are none.
fn replace_invalid(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    match replace_lone_surrogates(&text) {
        Cow::Borrowed(_) if matches!(text, Cow::Borrowed(_)) => None,
        repaired => Some(repaired.into_owned()),
    }
}

/// Replaces the escape of each lone surrogate by that of U+FFFD.
/// <https://www.rfc-editor.org/rfc/rfc8259#section-8.2>
fn replace_lone_surrogates(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let escape_at = |at: usize| -> Option<u16> {
        let hex = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    let mut repaired = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        match (escape_at(at), escape_at(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at += 12,
            (Some(0xD800..=0xDFFF), _) => {
                repaired.push_str(&text[copied..at]);
                repaired.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            // The character after a backslash does not begin another escape.
            _ => at = (at + 2).min(bytes.len()),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.push_str(&text[copied..]);
    Cow::Owned(repaired)
}

/// Parses a time. One without a zone is UTC; an invalid one is `None`.
pub(crate) fn time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(parse_time))
}

fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let local: DateTime = text.parse().ok()?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

/// Parses a string; any other value is `None`.
pub(crate) fn string<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(Some(text)),
        _ => Ok(None),
    }
}

/// Parses an object; any other value is an empty one.
pub(crate) fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

/// Parses a boolean; any other value is false.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_bool().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lone_surrogates_are_replaced() {
        for (text, expected) in [
            (r#"{"a": "x\ud83dy"}"#, json!({"a": "x\u{fffd}y"})),
            (r#"{"a": "\udc00"}"#, json!({"a": "\u{fffd}"})),
            (r#"{"a": "\ud83d\ud83d\ude00"}"#, json!({"a": "\u{fffd}😀"})),
            (
                r#"{"a": "\ud83d\ude00 \\ud83d"}"#,
                json!({"a": "😀 \\ud83d"}),
            ),
        ] {
            assert_eq!(
                from_slice::<Value>(text.as_bytes()).unwrap(),
                expected,
                "{text}"
            );
        }
        let broken = b"{\"a\": \"\xff\"}";
        assert_eq!(
            from_slice::<Value>(broken).unwrap(),
            json!({"a": "\u{fffd}"})
        );
        assert!(from_slice::<Value>(b"<html>").is_err());
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        let expected = "2026-11-26T06:00:00.5Z".parse().ok();
        for text in [
            "2026-11-26T06:00:00.5Z",
            "2026-11-26T06:00:00.5",
            "2026-11-26 06:00:00.5",
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
        assert_eq!(parse_time("soon"), None);
    }
}
