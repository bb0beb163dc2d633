//! What an output is, told from its first bytes: what a server says of its files is often wrong.

/// A type of media and how it is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaType {
    /// The MIME type.
    pub content_type: &'static str,
    /// The extension of its key.
    pub extension: &'static str,
    /// Whether a browser should save it rather than show it, as it could run scripts where it is shown.
    pub is_active: bool,
}

/// How many bytes of a file are looked at.
pub const HEAD: usize = 4096;

impl MediaType {
    /// Tells the type from the beginning of a file.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        let inert = |content_type, extension| Self {
            content_type,
            extension,
            is_active: false,
        };
        let active = |content_type, extension| Self {
            content_type,
            extension,
            is_active: true,
        };
        if head.starts_with(b"glTF") {
            return inert("model/gltf-binary", "glb");
        }
        let text = beginning_of_text(head);
        if text.is_some_and(|text| text.contains("<svg")) {
            return active("image/svg+xml", "svg");
        }
        if let Some(kind) = infer::get(head) {
            return match kind.mime_type() {
                mime @ ("text/html" | "text/xml") => active(mime, kind.extension()),
                mime => inert(mime, kind.extension()),
            };
        }
        match text {
            Some(text) if text.starts_with('{') && text.contains("\"asset\"") => {
                inert("model/gltf+json", "gltf")
            }
            Some(_) => inert("text/plain; charset=utf-8", "txt"),
            None => inert("application/octet-stream", "bin"),
        }
    }
}

/// The first characters, if they are text.
fn beginning_of_text(head: &[u8]) -> Option<&str> {
    let head = &head[..head.len().min(HEAD)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character cut in two by the limit is no sign of binary data.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |character: char| !character.is_control() || character.is_whitespace();
    text.chars().all(is_text).then_some(text.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_from_bytes() {
        for (head, content_type, extension) in [
            (&b"\x89PNG\r\n\x1a\n"[..], "image/png", "png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg", "jpg"),
            (b"RIFF\x24\0\0\0WEBPVP8L", "image/webp", "webp"),
            (b"GIF89a", "image/gif", "gif"),
            (
                b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41",
                "video/mp4",
                "mp4",
            ),
            (b"ID3\x03", "audio/mpeg", "mp3"),
            (b"glTF\x02\0\0\0", "model/gltf-binary", "glb"),
            (
                b"{\"asset\": {\"version\": \"2.0\"}}",
                "model/gltf+json",
                "gltf",
            ),
            (b"PK\x03\x04", "application/zip", "zip"),
            (b"a caption", "text/plain; charset=utf-8", "txt"),
            (b"\x01\x02\x03\x04\xff", "application/octet-stream", "bin"),
        ] {
            let media_type = MediaType::of(head);
            assert_eq!(
                (media_type.content_type, media_type.extension),
                (content_type, extension)
            );
            assert!(!media_type.is_active, "{content_type}");
        }
    }

    #[test]
    fn what_could_run_scripts_is_marked() {
        for head in [
            &b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>"[..],
            b"<?xml version=\"1.0\"?><svg/>",
            b"<!DOCTYPE html><html>",
            b"  <html><script>",
        ] {
            assert!(
                MediaType::of(head).is_active,
                "{}",
                String::from_utf8_lossy(head)
            );
        }
    }

    #[test]
    fn a_character_cut_in_two_is_still_text() {
        let mut head = vec![b'a'; 4095];
        head.extend("ü".bytes());
        assert_eq!(MediaType::of(&head).extension, "txt");
    }
}
