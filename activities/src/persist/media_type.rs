//! Media type detection. The first bytes decide. If they only show a zip, text or unknown binary
//! data, the extension in the URL and the MIME type of the host choose among types that cannot run
//! scripts. A claim of the host never overrides the bytes.
//!
//! - `hints`: the types that bytes do not show

mod hints;

use serde::de::IgnoredAny;

use super::source::Hints;

/// A media type, and how it is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaType {
    /// The MIME type.
    pub content_type: &'static str,
    /// Extension of the object's key.
    pub extension: &'static str,
    /// True if a browser should save it rather than show it, as it could run scripts.
    pub is_active: bool,
}

/// Number of bytes that are inspected: usually enough for the metadata before an image's
/// dimensions.
pub const HEAD: usize = 64 * 1024;

/// Number of these bytes that are checked for text.
const TEXT: usize = 4096;

/// Evidence in the bytes of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Detected {
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
enum Text {
    Html,
    Xml,
    Json,
    Plain,
}

impl MediaType {
    const fn inert(content_type: &'static str, extension: &'static str) -> Self {
        Self {
            content_type,
            extension,
            is_active: false,
        }
    }

    const fn active(content_type: &'static str, extension: &'static str) -> Self {
        Self {
            content_type,
            extension,
            is_active: true,
        }
    }

    /// Detects the type from the beginning of a file and from the claims of its source.
    pub(super) fn of(head: &[u8], hints: &Hints) -> Self {
        let hinted = |base| hints::find(hints, base);
        match detect(head) {
            Detected::Type(media_type) => media_type,
            Detected::Text(Text::Html) => Self::active("text/html", "html"),
            Detected::Text(Text::Xml) => Self::active("text/xml", "xml"),
            Detected::Text(Text::Json) => {
                hinted(hints::Base::Text).unwrap_or_else(|| Self::inert("application/json", "json"))
            }
            Detected::Text(Text::Plain) => hinted(hints::Base::Text)
                .unwrap_or_else(|| Self::inert("text/plain; charset=utf-8", "txt")),
            Detected::Zip => {
                hinted(hints::Base::Zip).unwrap_or_else(|| Self::inert("application/zip", "zip"))
            }
            Detected::Bytes => hinted(hints::Base::Bytes)
                .unwrap_or_else(|| Self::inert("application/octet-stream", "bin")),
        }
    }
}

/// True if a file that claims to be an image, a sound or a video is text: some hosts send an error
/// page with status 200. `asked_for_media` says what the job asked for, in case the source claims
/// nothing.
pub(super) fn is_error_page(head: &[u8], hints: &Hints, asked_for_media: bool) -> bool {
    let Detected::Text(text) = detect(head) else {
        return false;
    };
    let is_prose = text == Text::Plain;
    match hints::is_media(hints) {
        Some(called_media) => called_media,
        None => asked_for_media && !is_prose,
    }
}

fn detect(head: &[u8]) -> Detected {
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

/// True if text is JSON as far as it goes.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(extension: &str, content_type: &str) -> Hints {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Hints {
            extension: given(extension),
            content_type: given(content_type),
        }
    }

    #[test]
    fn types_are_told_from_bytes() {
        for (head, content_type, extension) in [
            (&b"\x89PNG\r\n\x1a\n"[..], "image/png", "png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg", "jpg"),
            (b"RIFF\x24\0\0\0WEBPVP8L", "image/webp", "webp"),
            (b"GIF89a", "image/gif", "gif"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "image/avif", "avif"),
            (b"\0\0\0\x1cftypavis\0\0\0\0", "image/avif", "avif"),
            (b"\0\0\0\x1cftypheic\0\0\0\0", "image/heic", "heic"),
            (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl", "jxl"),
            (b"\xff\x0a\x01\x02", "image/jxl", "jxl"),
            (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "video/mp4", "mp4"),
            (b"\0\0\0\x20ftypdash\0\0\0\0", "video/mp4", "mp4"),
            (b"\0\0\0\x20ftypXAVC\0\0\0\0", "video/mp4", "mp4"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0", "video/quicktime", "mov"),
            (b"\0\0\0\x20ftypM4A \0\0\0\0", "audio/mp4", "m4a"),
            (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm", "video/webm", "webm"),
            (b"ID3\x03", "audio/mpeg", "mp3"),
            (b"\xff\xf3\x84\xc4", "audio/mpeg", "mp3"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav", "wav"),
            (b"fLaC\0\0\0\x22", "audio/flac", "flac"),
            (b"OggS\0\x02\0\0", "audio/ogg", "ogg"),
            (b"glTF\x02\0\0\0", "model/gltf-binary", "glb"),
            (b"{\"asset\": {\"version\": \"2.0\"}}", "model/gltf+json", "gltf"),
            (b"PK\x03\x04", "application/zip", "zip"),
            (b"\x1f\x8b\x08\0", "application/gzip", "gz"),
            (b"%PDF-1.7", "application/pdf", "pdf"),
            (b"a caption", "text/plain; charset=utf-8", "txt"),
            (b"[a caption in brackets]", "text/plain; charset=utf-8", "txt"),
            (b"{\"masks\": [1, 2", "application/json", "json"),
            (b"\x01\x02\x03\x04\xff", "application/octet-stream", "bin"),
        ] {
            let media_type = MediaType::of(head, &Hints::default());
            assert_eq!(
                (media_type.content_type, media_type.extension),
                (content_type, extension)
            );
            assert!(!media_type.is_active, "{content_type}");
        }
        let mut transport = vec![0; 1000];
        for packet in 0..5 {
            transport[packet * 188] = 0x47;
        }
        assert_eq!(MediaType::of(&transport, &Hints::default()).extension, "ts");
    }

    #[test]
    fn where_bytes_say_little_the_source_is_asked_but_never_for_what_could_run() {
        let ply = b"ply\nformat ascii 1.0\n";
        let (binary, zip) = (&b"\x01\x02\x03\x04\xff"[..], &b"PK\x03\x04"[..]);
        for (head, extension, content_type, expected, kept_as) in [
            (&ply[..], "ply", "", "model/ply", "ply"),
            (
                b"# cube\nv 0 0 0\n",
                "obj",
                "text/plain",
                "model/obj",
                "obj",
            ),
            (
                b"1\n00:00:01,000 --> 00:00:02,000\nHello\n",
                "srt",
                "",
                "application/x-subrip",
                "srt",
            ),
            (b"solid cube\n", "", "model/stl", "model/stl", "stl"),
            (
                b"{\"a\": 1}",
                "",
                "application/json; charset=utf-8",
                "application/json",
                "json",
            ),
            (binary, "stl", "", "model/stl", "stl"),
            (
                binary,
                "safetensors",
                "",
                "application/octet-stream",
                "safetensors",
            ),
            (
                binary,
                "",
                "application/octet-stream",
                "application/octet-stream",
                "bin",
            ),
            (zip, "usdz", "", "model/vnd.usdz+zip", "usdz"),
            (zip, "png", "image/png", "application/zip", "zip"),
            (
                b"alert(1)",
                "js",
                "text/javascript",
                "text/plain; charset=utf-8",
                "txt",
            ),
            (
                b"alert(1)",
                "html",
                "text/html",
                "text/plain; charset=utf-8",
                "txt",
            ),
            (
                binary,
                "svg",
                "image/svg+xml",
                "application/octet-stream",
                "bin",
            ),
            (b"GIF89a", "png", "text/html", "image/gif", "gif"),
        ] {
            let media_type = MediaType::of(head, &hints(extension, content_type));
            assert_eq!(
                (media_type.content_type, media_type.extension),
                (expected, kept_as),
                "{extension} {content_type}"
            );
            assert!(!media_type.is_active);
        }
    }

    #[test]
    fn what_could_run_scripts_is_marked() {
        for head in [
            &b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>"[..],
            b"<?xml version=\"1.0\"?><svg/>",
            b"<?xml version=\"1.0\"?>\n<!-- made by hand -->\n<!DOCTYPE svg PUBLIC \"a\" \"b\">\n<svg/>",
            b"<!DOCTYPE html><html>",
            b"  <html><script>",
        ] {
            assert!(
                MediaType::of(head, &hints("png", "image/png")).is_active,
                "{}",
                String::from_utf8_lossy(head)
            );
        }
    }

    #[test]
    fn an_error_page_is_not_the_picture_that_it_is_called() {
        let html = &b"<!DOCTYPE html><html>Not found"[..];
        let (xml, json) = (
            &b"<?xml version=\"1.0\"?><Error>"[..],
            &b"{\"error\": \"expired\"}"[..],
        );
        let (prose, png) = (&b"Not found"[..], &b"\x89PNG\r\n\x1a\n"[..]);
        for (head, extension, content_type, asked, expected) in [
            (html, "png", "text/html", false, true),
            (xml, "mp4", "application/xml", false, true),
            (json, "webp", "application/json", false, true),
            (prose, "png", "", false, true),
            (&b"<!DOCTYPE html><html><svg/>"[..], "png", "", false, true),
            (json, "", "image/png", false, true),
            (html, "", "text/html", true, true),
            (json, "", "application/json", true, true),
            // A caption beside the images is text, as claimed.
            (prose, "", "text/plain", true, false),
            (prose, "txt", "text/plain", true, false),
            (json, "json", "application/json", true, false),
            (html, "html", "text/html", true, false),
            (html, "", "text/html", false, false),
            (json, "", "", false, false),
            (png, "png", "text/html", true, false),
            (&b"<svg/>"[..], "png", "", true, false),
        ] {
            assert_eq!(
                is_error_page(head, &hints(extension, content_type), asked),
                expected,
                "{} {extension} {content_type} {asked}",
                String::from_utf8_lossy(head)
            );
        }
    }

    #[test]
    fn a_character_cut_in_two_is_still_text() {
        let mut head = vec![b'a'; 4095];
        head.extend("ü".bytes());
        assert_eq!(MediaType::of(&head, &Hints::default()).extension, "txt");
    }
}
