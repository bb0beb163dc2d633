//! The `Content-Disposition` of an output: whether a browser shows or saves it, and under which
//! name. The name comes from the provider and is untrusted: path separators and characters with a
//! meaning in a header are replaced.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::media_type::MediaType;

/// Characters that are percent-encoded in a name: all but `attr-char`,
/// <https://www.rfc-editor.org/rfc/rfc8187#section-3.2.1>
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Maximum length of a name, in characters.
const LONGEST: usize = 100;

/// Returns the `Content-Disposition` of an output; `None` if its type says enough.
pub(super) fn of(name: Option<&str>, media_type: MediaType) -> Option<String> {
    let kind = if media_type.is_active {
        "attachment"
    } else {
        "inline"
    };
    match name.map(sanitized).filter(|name| !name.is_empty()) {
        Some(name) => {
            let file = format!("{name}.{}", media_type.extension);
            let ascii: String = file
                .chars()
                .map(|character| if character.is_ascii() { character } else { '_' })
                .collect();
            let encoded = utf8_percent_encode(&file, ENCODED);
            Some(format!(
                "{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}"
            ))
        }
        None => media_type.is_active.then(|| kind.to_owned()),
    }
}

/// Returns a name of letters, digits, spaces, `-` and `_`; all else is replaced.
fn sanitized(name: &str) -> String {
    let safe = |character: char| {
        if character.is_alphanumeric() || matches!(character, ' ' | '-' | '_') {
            character
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(safe).take(LONGEST).collect();
    name.trim_matches(['_', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_escaped() {
        let wav = MediaType {
            content_type: "audio/wav",
            extension: "wav",
            is_active: false,
        };
        let svg = MediaType {
            content_type: "image/svg+xml",
            extension: "svg",
            is_active: true,
        };
        for (name, media_type, expected) in [
            (None, wav, None),
            (None, svg, Some("attachment")),
            (
                Some("vocals"),
                wav,
                Some("inline; filename=\"vocals.wav\"; filename*=UTF-8''vocals.wav"),
            ),
            (
                Some("stems[0].url"),
                wav,
                Some("inline; filename=\"stems_0__url.wav\"; filename*=UTF-8''stems_0__url.wav"),
            ),
            (
                Some("../../etc/pass\"\r\nX: y"),
                svg,
                Some(
                    "attachment; filename=\"etc_pass___X_ y.svg\"; filename*=UTF-8''etc_pass___X_%20y.svg",
                ),
            ),
            (
                Some("Gesänge"),
                wav,
                Some("inline; filename=\"Ges_nge.wav\"; filename*=UTF-8''Ges%C3%A4nge.wav"),
            ),
            (Some("//"), wav, None),
        ] {
            assert_eq!(of(name, media_type).as_deref(), expected, "{name:?}");
        }
    }
}
