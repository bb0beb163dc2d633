//! The files that a prediction has made: whether they are there, and what is rendered for them.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Prediction;
use crate::provider::render::LONGER;

/// File to render.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Prompt, which chooses the scene.
    pub prompt: String,
    /// Seed: the same seed gives the same picture.
    pub seed: u64,
    /// File format.
    pub format: Format,
    /// Width and height, in pixels.
    pub size: (u16, u16),
    /// Length of filler bytes to return instead of a picture.
    pub bytes: Option<usize>,
}

/// File formats that can be rendered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(
    missing_docs,
    reason = "each variant is the name of a well-known format"
)]
pub enum Format {
    Jpg,
    Png,
    Webp,
    Mp4,
}

impl Format {
    pub(super) fn of(input: &Map<String, Value>) -> Self {
        match input.get("output_format").and_then(Value::as_str) {
            Some("jpg") => Self::Jpg,
            Some("png") => Self::Png,
            Some("mp4") => Self::Mp4,
            _ => Self::Webp,
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Jpg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Mp4 => "mp4",
        }
    }
}

impl Prediction {
    /// Returns the file of this name, if it can be fetched at this time.
    #[must_use]
    pub fn file(&self, name: &str, now: Timestamp) -> Option<Picture> {
        let (index, extension) = name.split_once('.')?;
        let index: u32 = index.parse().ok()?;
        let script = self.script();
        let format = Format::of(&self.input);
        let is_there = self.has_made(now)
            && !self.is_removed(now)
            && index < self.count()
            && extension == format.extension()
            && !script.missing.contains(&index);
        let prompt = self
            .input
            .get("prompt")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let seed = self
            .input
            .get("seed")
            .and_then(Value::as_u64)
            .unwrap_or_else(|| fold(&self.id));
        is_there.then(|| Picture {
            prompt,
            seed: seed.wrapping_add(index.into()),
            format,
            size: size(self.input.get("aspect_ratio").and_then(Value::as_str)),
            bytes: script.bytes,
        })
    }

    /// True if the instructions name this file as missing.
    #[must_use]
    pub fn is_scripted_missing(&self, name: &str) -> bool {
        let index = name.split('.').next().and_then(|index| index.parse().ok());
        index.is_some_and(|index| self.script().missing.contains(&index))
    }

    pub(super) fn count(&self) -> u32 {
        let asked = self
            .input
            .get("num_outputs")
            .and_then(Value::as_u64)
            .and_then(|count| u32::try_from(count).ok());
        self.script().outputs.or(asked).unwrap_or(1)
    }
}

/// Returns the size in pixels for an aspect ratio such as `16:9`. Falls back to 3:2.
fn size(ratio: Option<&str>) -> (u16, u16) {
    let parse = |ratio: &str| {
        let (width, height) = ratio.split_once(':')?;
        let sides: (u16, u16) = (width.parse().ok()?, height.parse().ok()?);
        let is_usual = (1..=32).contains(&sides.0) && (1..=32).contains(&sides.1);
        is_usual.then_some(sides)
    };
    let (width, height) = ratio.and_then(parse).unwrap_or((3, 2));
    let longer = width.max(height);
    (LONGER * width / longer, LONGER * height / longer)
}

fn fold(text: &str) -> u64 {
    text.bytes().fold(0, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_the_ratio_that_they_are_asked_for() {
        assert_eq!(size(None), (768, 512));
        assert_eq!(size(Some("16:9")), (768, 432));
        assert_eq!(size(Some("9:16")), (432, 768));
        for ratio in ["", "16", "0:1", "1:99", "a:b"] {
            assert_eq!(size(Some(ratio)), (768, 512), "{ratio}");
        }
    }
}
