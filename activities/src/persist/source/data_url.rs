//! Decodes `data:` URLs as providers write them: with raw characters where the specification
//! requires escapes, and with either alphabet of base64. A URL that cannot be decoded as a whole is
//! refused, never truncated. <https://www.rfc-editor.org/rfc/rfc2397>

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use percent_encoding::percent_decode_str;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Content of a `data:` URL.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Decoded {
    /// The bytes.
    pub(super) bytes: Bytes,
    /// MIME type that the URL claims.
    pub(super) content_type: Option<String>,
}

/// Decodes a `data:` URL.
///
/// # Errors
/// If it is no `data:` URL, has no comma, or is not the base64 that it claims to be; the reason in
/// words.
pub(super) fn decode(url: &str) -> Result<Decoded, &'static str> {
    let (scheme, rest) = url.split_once(':').ok_or("it has no colon")?;
    if !scheme.eq_ignore_ascii_case("data") {
        return Err("its scheme is not data");
    }
    let (head, data) = rest.split_once(',').ok_or("it has no comma")?;
    let (content_type, is_base64) = match head.rsplit_once(';') {
        Some((content_type, coding)) if coding.trim().eq_ignore_ascii_case("base64") => {
            (content_type, true)
        }
        _ => (head, false),
    };
    let bytes: Vec<u8> = percent_decode_str(data).collect();
    let bytes = if is_base64 {
        from_base64(bytes)?
    } else {
        bytes
    };
    Ok(Decoded {
        bytes: bytes.into(),
        content_type: Some(content_type.trim())
            .filter(|content_type| !content_type.is_empty())
            .map(str::to_owned),
    })
}

fn from_base64(mut text: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    text.retain(|byte| !byte.is_ascii_whitespace());
    for byte in &mut text {
        match byte {
            b'-' => *byte = b'+',
            b'_' => *byte = b'/',
            _ => {}
        }
    }
    BASE64.decode(text).map_err(|_| "it is not base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_decode() {
        for (url, bytes, content_type) in [
            ("data:,a%20b", &b"a b"[..], None),
            (
                "data:image/svg+xml,<svg fill='#f00'>\n\t<a/></svg>#end",
                b"<svg fill='#f00'>\n\t<a/></svg>#end",
                Some("image/svg+xml"),
            ),
            (
                "data:text/plain;charset=utf-8,%C3%BC",
                "ü".as_bytes(),
                Some("text/plain;charset=utf-8"),
            ),
            ("DATA:image/png;BASE64,+/8=", b"\xfb\xff", Some("image/png")),
            ("data:image/png;base64,-_8", b"\xfb\xff", Some("image/png")),
            ("data:;base64,%2B%2F8%3D", b"\xfb\xff", None),
            ("data:;base64,+/\n8=", b"\xfb\xff", None),
        ] {
            let decoded = decode(url).unwrap();
            assert_eq!(decoded.bytes, bytes, "{url}");
            assert_eq!(decoded.content_type.as_deref(), content_type, "{url}");
        }
        for url in [
            "data:image/png",
            "https://a/,",
            "data:;base64,a#b",
            "data:;base64,a",
        ] {
            assert!(decode(url).is_err(), "{url}");
        }
    }
}
