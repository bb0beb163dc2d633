//! Media type detection. The first bytes decide. If they only show a zip, text or unknown binary
//! data, the extension in the URL and the MIME type of the host choose among types that cannot run
//! scripts. A claim of the host never overrides the bytes.
//!
//! - `detect`: the types that bytes show
//! - `hints`: the types that bytes do not show

mod detect;
mod hints;

use self::detect::{Detected, Text, detect};
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

/// Returns true if a file that claims to be an image, a sound or a video is text: some hosts send
/// an error page with status 200. `asked_for_media` says what the job asked for, in case the source
/// claims nothing.
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
    fn media_types_are_detected_from_bytes() {
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
    fn hints_refine_a_type_but_never_make_it_active() {
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
    fn types_that_run_scripts_are_active() {
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
    fn error_pages_are_detected() {
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
    fn text_may_be_cut_within_a_character() {
        let mut head = vec![b'a'; 4095];
        head.extend("ü".bytes());
        assert_eq!(MediaType::of(&head, &Hints::default()).extension, "txt");
    }
}
