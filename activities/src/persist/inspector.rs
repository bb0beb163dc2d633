//! Facts about an output, read as its bytes pass: the dimensions of an image, the dimensions and
//! duration of a video, and whether it has Content Credentials (C2PA). Nothing is fetched for them;
//! facts that are not seen stay unknown.

use darkroom_workflows::job::MediaFacts;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::{isobmff::Boxes, media_type::MediaType};

/// Description box of a C2PA manifest store, which every file with Content Credentials contains.
/// <https://spec.c2pa.org/specifications/specifications/2.2/specs/C2PA_Specification.html#_use_of_jumbf>
const C2PA: &[u8] = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71";

/// An inspection under way. It is kept in the checkpoint between two attempts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Inspector {
    width: Option<u32>,
    height: Option<u32>,
    has_c2pa: bool,
    /// End of the bytes so far, as the mark may span two chunks.
    tail: Vec<u8>,
    /// The boxes of a video.
    boxes: Option<Boxes>,
}

impl Inspector {
    /// Begins with the first bytes of a file, which are passed to `update` again.
    pub(super) fn begin(head: &[u8], media_type: MediaType) -> Self {
        let is_picture = media_type.content_type.starts_with("image/");
        let size = imagesize::blob_size(head).ok().filter(|_| is_picture);
        let is_isobmff = head.get(4..8) == Some(b"ftyp") && !is_picture;
        Self {
            width: size.and_then(|size| u32::try_from(size.width).ok()),
            height: size.and_then(|size| u32::try_from(size.height).ok()),
            boxes: is_isobmff.then(Boxes::default),
            ..Self::default()
        }
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.look_for_c2pa(bytes);
        if let Some(boxes) = &mut self.boxes {
            boxes.update(bytes);
        }
    }

    /// Returns the facts seen so far.
    pub(super) fn facts(&self) -> MediaFacts {
        let movie = self.boxes.as_ref().map(Boxes::movie).unwrap_or_default();
        MediaFacts {
            width: self.width.or(movie.width),
            height: self.height.or(movie.height),
            duration_ms: movie.duration_ms,
            c2pa: self.has_c2pa,
        }
    }

    fn look_for_c2pa(&mut self, bytes: &[u8]) {
        if self.has_c2pa {
            return;
        }
        let overlap = C2PA.len() - 1;
        self.tail.extend(&bytes[..bytes.len().min(overlap)]);
        self.has_c2pa =
            memmem::find(&self.tail, C2PA).is_some() || memmem::find(bytes, C2PA).is_some();
        if bytes.len() >= overlap {
            self.tail.clear();
            self.tail.extend(&bytes[bytes.len() - overlap..]);
        } else {
            let surplus = self.tail.len().saturating_sub(overlap);
            self.tail.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::source::Hints;

    fn seen(file: &[u8], pieces: usize) -> MediaFacts {
        let media_type = MediaType::of(file, &Hints::default());
        let mut inspector = Inspector::begin(file, media_type);
        for piece in file.chunks(pieces) {
            inspector.update(piece);
        }
        inspector.facts()
    }

    #[test]
    fn pictures_have_a_size() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x02\0\0\0";
        let gif = b"GIF89a\x40\x01\xf0\0\0\0\0";
        for (file, width, height) in [(&png[..], 640, 480), (gif, 320, 240)] {
            let facts = seen(file, 5);
            assert_eq!((facts.width, facts.height), (Some(width), Some(height)));
            assert_eq!((facts.duration_ms, facts.c2pa), (None, false));
        }
        assert_eq!(seen(b"a caption", 5), MediaFacts::default());
    }

    #[test]
    fn c2pa_is_detected_at_any_position() {
        let mut file = b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec();
        file.resize(1000, 7);
        for at in [10, 100, 900] {
            let mut signed = file.clone();
            signed.splice(at..at, C2PA.iter().copied());
            for pieces in [1, 7, 23, 24, 64, 2000] {
                assert!(seen(&signed, pieces).c2pa, "{at} {pieces}");
            }
        }
        assert!(!seen(&file, 7).c2pa);
    }
}
