//! Renders a picture from a prompt and a seed, deterministically. The prompt chooses the scene and
//! its colors, the seed the landscape and the time of day. A video is always the same, prerecorded
//! file.

mod scene;

use std::io::Cursor;

use anyhow::{Context, Result};
use image::{DynamicImage, ImageFormat, RgbaImage};

use super::prediction::{Format, Picture};

/// Longer side of a picture, in pixels.
pub(super) const LONGER: u16 = 768;

/// Three seconds of waves, made by `tools/waves.sh`.
const VIDEO: &[u8] = include_bytes!("waves.mp4");

/// Renders a picture in its format.
///
/// # Errors
/// If the encoder fails.
pub(super) fn render(picture: &Picture) -> Result<Vec<u8>> {
    if let Some(length) = picture.bytes {
        return Ok(filler(length, picture.seed));
    }
    let format = match picture.format {
        Format::Jpg => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
        Format::Webp => ImageFormat::WebP,
        Format::Mp4 => return Ok(VIDEO.to_vec()),
    };
    let pixmap = scene::paint(picture).context("the canvas has no size")?;
    let (width, height) = picture.size;
    let pixels = RgbaImage::from_raw(width.into(), height.into(), pixmap.take_demultiplied())
        .context("the canvas is cut off")?;
    let image = DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).into_rgb8());
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// Returns bytes that begin like a PNG and differ between seeds.
fn filler(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(seed.to_le_bytes());
    bytes.resize(length.max(bytes.len()), 0x5a);
    bytes.truncate(length.max(16));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(seed: u64, format: Format) -> Picture {
        Picture {
            prompt: "a fox".to_owned(),
            seed,
            format,
            size: (LONGER, 512),
            bytes: None,
        }
    }

    #[test]
    fn every_format_decodes_and_depends_on_the_seed_alone() {
        for (format, expected) in [
            (Format::Jpg, ImageFormat::Jpeg),
            (Format::Png, ImageFormat::Png),
            (Format::Webp, ImageFormat::WebP),
        ] {
            let bytes = render(&picture(1, format)).unwrap();
            assert_eq!(image::guess_format(&bytes).unwrap(), expected);
            assert_eq!(
                image::load_from_memory(&bytes).unwrap().width(),
                u32::from(LONGER)
            );
            assert_eq!(bytes, render(&picture(1, format)).unwrap());
            assert_ne!(bytes, render(&picture(2, format)).unwrap());
        }
    }

    #[test]
    fn prompts_and_seeds_are_told_apart_at_a_glance() {
        let shot = |prompt: &str, seed| {
            let picture = Picture {
                prompt: prompt.to_owned(),
                ..picture(seed, Format::Png)
            };
            let picture = image::load_from_memory(&render(&picture).unwrap()).unwrap();
            picture.thumbnail(16, 16).into_rgb8().into_raw()
        };
        let distance = |one: &[u8], other: &[u8]| {
            let pairs = one.iter().zip(other);
            let sum: u32 = pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            sum / u32::try_from(one.len()).unwrap()
        };
        let prompts = [
            "a fox",
            "a lighthouse in fog",
            "hills at dusk",
            "a city of glass",
        ];
        for (at, prompt) in prompts.iter().enumerate() {
            for other in &prompts[at + 1..] {
                assert!(
                    distance(&shot(prompt, 1), &shot(other, 1)) >= 10,
                    "{prompt}, {other}"
                );
            }
            assert!(
                distance(&shot(prompt, 1), &shot(prompt, 2)) >= 3,
                "{prompt}"
            );
        }
    }

    #[test]
    fn filler_has_the_length_asked_for() {
        let filler = render(&Picture {
            bytes: Some(65_536),
            ..picture(1, Format::Png)
        })
        .unwrap();
        assert_eq!(filler.len(), 65_536);
    }
}
