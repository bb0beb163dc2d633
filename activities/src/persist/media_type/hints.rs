//! Types that bytes alone do not show, by the extensions and MIME types that sources claim. None of
//! them can run scripts in a browser, so a false claim does no harm.

use super::MediaType;
use crate::persist::source::Hints;

/// Kind of bytes that a type may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Base {
    Text,
    Zip,
    Bytes,
}

/// Extensions, their types, and the kinds of bytes that these may have.
const HINTED: [(&str, &str, &[Base]); 32] = [
    ("3mf", "model/3mf", &[Base::Zip]),
    ("ass", "text/x-ssa", &[Base::Text]),
    (
        "ckpt",
        "application/octet-stream",
        &[Base::Zip, Base::Bytes],
    ),
    ("csv", "text/csv", &[Base::Text]),
    ("epub", "application/epub+zip", &[Base::Zip]),
    ("fbx", "application/octet-stream", &[Base::Bytes]),
    ("gguf", "application/octet-stream", &[Base::Bytes]),
    ("json", "application/json", &[Base::Text]),
    ("jsonl", "application/x-ndjson", &[Base::Text]),
    ("kmz", "application/vnd.google-earth.kmz", &[Base::Zip]),
    ("lrc", "text/plain; charset=utf-8", &[Base::Text]),
    ("md", "text/markdown", &[Base::Text]),
    ("mid", "audio/midi", &[Base::Bytes]),
    ("mtl", "model/mtl", &[Base::Text]),
    ("npy", "application/octet-stream", &[Base::Bytes]),
    ("npz", "application/zip", &[Base::Zip]),
    ("obj", "model/obj", &[Base::Text]),
    ("onnx", "application/octet-stream", &[Base::Bytes]),
    ("pcm", "application/octet-stream", &[Base::Bytes]),
    ("ply", "model/ply", &[Base::Text, Base::Bytes]),
    ("pt", "application/octet-stream", &[Base::Zip, Base::Bytes]),
    ("safetensors", "application/octet-stream", &[Base::Bytes]),
    ("splat", "application/octet-stream", &[Base::Bytes]),
    ("spz", "application/octet-stream", &[Base::Bytes]),
    ("srt", "application/x-subrip", &[Base::Text]),
    ("stl", "model/stl", &[Base::Text, Base::Bytes]),
    ("step", "model/step", &[Base::Text]),
    ("tsv", "text/tab-separated-values", &[Base::Text]),
    ("usda", "model/vnd.usda", &[Base::Text]),
    ("usdz", "model/vnd.usdz+zip", &[Base::Zip]),
    ("vtt", "text/vtt", &[Base::Text]),
    ("yaml", "application/yaml", &[Base::Text]),
];

/// Extensions of images, sounds and videos.
const MEDIA: [&str; 34] = [
    "aac", "aif", "aiff", "apng", "avi", "avif", "bmp", "flac", "gif", "heic", "heif", "ico",
    "jpeg", "jpg", "jxl", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "oga", "ogg",
    "ogv", "opus", "png", "svg", "tif", "tiff", "wav", "webm", "webp",
];

/// Returns the type that a source claims, if bytes of this kind may be of it.
pub(super) fn find(hints: &Hints, base: Base) -> Option<MediaType> {
    let by_extension = |extension: &str| HINTED.iter().find(|(known, ..)| *known == extension);
    let by_name = |name: &str| {
        let is_it = |content_type: &str| essence(content_type) == essence(name);
        let generic = ["application/octet-stream", "text/plain", "application/zip"];
        HINTED
            .iter()
            .find(|(_, known, _)| is_it(known) && !generic.contains(&essence(known).as_str()))
    };
    let extension = hints.extension.as_deref().and_then(by_extension);
    let (extension, content_type, _) = extension
        .filter(|(.., bases)| bases.contains(&base))
        .or_else(|| hints.content_type.as_deref().and_then(by_name))
        .filter(|(.., bases)| bases.contains(&base))?;
    Some(MediaType::inert(content_type, extension))
}

/// Returns true if a source claims an image, a sound or a video, in its URL first; `None` if it
/// claims nothing.
pub(super) fn is_media(hints: &Hints) -> Option<bool> {
    if let Some(extension) = hints.extension.as_deref() {
        if MEDIA.contains(&extension) {
            return Some(true);
        }
        let is_text = ["html", "htm", "txt", "xml"].contains(&extension)
            || HINTED.iter().any(|(known, ..)| *known == extension);
        if is_text {
            return Some(false);
        }
    }
    let name = essence(hints.content_type.as_deref()?);
    let is_media = ["image/", "audio/", "video/"]
        .iter()
        .any(|kind| name.starts_with(kind));
    is_media.then_some(true)
}

/// Returns a MIME type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}
