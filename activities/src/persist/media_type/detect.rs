//! Evidence in the first bytes of a file: signatures, brands, and the beginning of text. The claims
//! of its source are not considered here.

use serde::de::IgnoredAny;

use super::MediaType;

/// Number of bytes that are checked for text.
const TEXT: usize = 4096;

/// Evidence in the bytes of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Detected {
    /// A type.
    Type(MediaType),
    /// Text of this kind.
    Text(Text),
    /// A zip, which many formats are.
    Zip,
    /// Unknown binary data.
    Bytes,
}

/// Kinds of text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Text {
    Html,
    Xml,
    Json,
    Plain,
}

/// Detects what the first bytes of a file show.
pub(super) fn detect(head: &[u8]) -> Detected {
    if let Some(media_type) = by_signature(head) {
        return Detected::Type(media_type);
    }
    let text = beginning_of_text(head);
    if text.is_some_and(|text| after_prologue(text).starts_with("<svg")) {
        return Detected::Type(MediaType::active("image/svg+xml", "svg"));
    }
    if let Some(kind) = infer::get(head) {
        let inert = |content_type| Detected::Type(MediaType::inert(content_type, kind.extension()));
        return match kind.mime_type() {
            "text/html" => Detected::Text(Text::Html),
            "text/xml" => Detected::Text(Text::Xml),
            "application/zip" => Detected::Zip,
            "audio/x-wav" => inert("audio/wav"),
            "audio/x-flac" => inert("audio/flac"),
            "audio/x-aiff" => inert("audio/aiff"),
            content_type => inert(content_type),
        };
    }
    match text {
        Some(text) if is_json(text) && text.starts_with('{') && text.contains("\"asset\"") => {
            Detected::Type(MediaType::inert("model/gltf+json", "gltf"))
        }
        Some(text) if is_json(text) => Detected::Text(Text::Json),
        Some(_) => Detected::Text(Text::Plain),
        None => Detected::Bytes,
    }
}

/// Detects types that `infer` does not know, or not in all variants.
fn by_signature(head: &[u8]) -> Option<MediaType> {
    const PACKET: usize = 188;
    let inert = MediaType::inert;
    if head.get(4..8) == Some(b"ftyp") {
        return Some(by_brand(head.get(8..12)?));
    }
    if head.starts_with(b"\xff\x0a") || head.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n") {
        return Some(inert("image/jxl", "jxl"));
    }
    if head.starts_with(b"glTF") {
        return Some(inert("model/gltf-binary", "glb"));
    }
    // The document type is in the first element.
    // <https://www.rfc-editor.org/rfc/rfc8794#section-11.2>
    if head.starts_with(b"\x1a\x45\xdf\xa3") {
        let element = &head[..head.len().min(64)];
        let is = |kind: &[u8]| element.windows(kind.len()).any(|window| window == kind);
        return if is(b"webm") {
            Some(inert("video/webm", "webm"))
        } else if is(b"matroska") {
            Some(inert("video/x-matroska", "mkv"))
        } else {
            None
        };
    }
    // Every packet of an MPEG transport stream begins with this byte.
    if head.len() > 2 * PACKET && [0, 1, 2].iter().all(|packet| head[packet * PACKET] == 0x47) {
        return Some(inert("video/mp2t", "ts"));
    }
    // MP3 (layer III of MPEG 1, 2 and 2.5) without an ID3 tag.
    if head.len() > 2
        && head[0] == 0xff
        && matches!(head[1], 0xfa | 0xfb | 0xf2 | 0xf3 | 0xe2 | 0xe3)
    {
        return Some(inert("audio/mpeg", "mp3"));
    }
    None
}

/// Returns the type of an ISO base media file, by its major brand; an unknown brand is a video.
/// <https://mp4ra.org/registered-types/brands>
fn by_brand(brand: &[u8]) -> MediaType {
    let inert = MediaType::inert;
    match brand {
        b"avif" | b"avis" => inert("image/avif", "avif"),
        b"heic" | b"heix" | b"hevc" | b"hevx" => inert("image/heic", "heic"),
        b"mif1" | b"msf1" | b"heim" | b"heis" => inert("image/heif", "heif"),
        b"crx " => inert("image/x-canon-cr3", "cr3"),
        b"jp2 " => inert("image/jp2", "jp2"),
        b"M4A " | b"M4B " | b"M4P " | b"F4A " => inert("audio/mp4", "m4a"),
        b"qt  " => inert("video/quicktime", "mov"),
        brand if brand.starts_with(b"3gp") => inert("video/3gpp", "3gp"),
        _ => inert("video/mp4", "mp4"),
    }
}

/// Returns the text after the declaration, the comments and the document type of XML.
fn after_prologue(mut text: &str) -> &str {
    for (begin, end) in [
        ("<?xml", "?>"),
        ("<!--", "-->"),
        ("<!DOCTYPE svg", ">"),
        ("<!--", "-->"),
    ] {
        while text.starts_with(begin) {
            text = text
                .split_once(end)
                .map_or("", |(_, rest)| rest.trim_start());
        }
    }
    text
}

/// Returns true if text is JSON as far as it goes.
fn is_json(text: &str) -> bool {
    text.starts_with(['{', '['])
        && serde_json::from_str::<IgnoredAny>(text)
            .map_or_else(|error| error.is_eof(), |IgnoredAny| true)
}

/// Returns the first characters, if they are text.
fn beginning_of_text(head: &[u8]) -> Option<&str> {
    let head = &head[..head.len().min(TEXT)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character that the limit cuts in two is no sign of binary data.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}');
    let is_text = |character: char| !character.is_control() || character.is_whitespace();
    text.chars().all(is_text).then_some(text.trim_start())
}
