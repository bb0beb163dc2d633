//! Renders a picture from a prompt and a seed: hills under a sky, the same every time. The prompt gives the colors, the
//! seed the lay of the land.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::{DynamicImage, ImageFormat, RgbaImage};
use sha2::{Digest, Sha256};
use tiny_skia::{
    Color, FillRule, GradientStop, LinearGradient, Paint, PathBuilder, Pixmap, Point, Rect, Shader,
    SpreadMode, Transform,
};

use super::prediction::{Format, Picture};

const WIDTH: u16 = 768;
const HEIGHT: u16 = 512;
const RANGES: u8 = 5;

/// Renders it in its format.
///
/// # Errors
/// If the encoder fails.
pub(super) fn render(picture: &Picture) -> Result<Vec<u8>> {
    if let Some(length) = picture.bytes {
        return Ok(filler(length, picture.seed));
    }
    let pixmap = paint(picture).context("the canvas has no size")?;
    let pixels = RgbaImage::from_raw(WIDTH.into(), HEIGHT.into(), pixmap.take_demultiplied())
        .context("the canvas is cut off")?;
    let image = DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).into_rgb8());
    let format = match picture.format {
        Format::Jpg => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
        Format::Webp => ImageFormat::WebP,
    };
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// Bytes that begin like a PNG and differ from seed to seed.
fn filler(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(seed.to_le_bytes());
    bytes.resize(length.max(bytes.len()), 0x5a);
    bytes.truncate(length.max(16));
    bytes
}

fn paint(picture: &Picture) -> Option<Pixmap> {
    let mut pixmap = Pixmap::new(WIDTH.into(), HEIGHT.into())?;
    let (width, height) = (f32::from(WIDTH), f32::from(HEIGHT));
    let mut chance = Chance::of(&picture.prompt, picture.seed);
    let hue = Chance::of(&picture.prompt, 0).next() * 360.0;

    let sky = gradient(
        color(hue, 0.55, 0.35),
        color(hue + 40.0, 0.75, 0.85),
        0.0,
        height,
    )?;
    pixmap.fill_rect(
        Rect::from_xywh(0.0, 0.0, width, height)?,
        &sky,
        Transform::identity(),
        None,
    );

    let radius = 25.0 + 35.0 * chance.next();
    let sun = PathBuilder::from_circle(
        width * (0.15 + 0.7 * chance.next()),
        height * (0.15 + 0.3 * chance.next()),
        radius,
    )?;
    let light = Paint {
        shader: Shader::SolidColor(color(hue + 60.0, 0.9, 0.92)),
        ..Paint::default()
    };
    pixmap.fill_path(&sun, &light, FillRule::Winding, Transform::identity(), None);

    for range in 0..RANGES {
        let depth = f32::from(range) / f32::from(RANGES);
        let base = height * (0.45 + 0.5 * depth);
        let hills = hills(&mut chance, base, 60.0 * (1.0 - 0.5 * depth))?;
        let ground = gradient(
            color(hue + 15.0 * depth, 0.4, 0.5 - 0.4 * depth),
            color(hue, 0.45, 0.3 - 0.25 * depth),
            base - 60.0,
            height,
        )?;
        pixmap.fill_path(
            &hills,
            &ground,
            FillRule::Winding,
            Transform::identity(),
            None,
        );
    }
    Some(pixmap)
}

fn hills(chance: &mut Chance, base: f32, rise: f32) -> Option<tiny_skia::Path> {
    const STEPS: u8 = 6;
    let (width, height) = (f32::from(WIDTH), f32::from(HEIGHT));
    let mut path = PathBuilder::new();
    path.move_to(0.0, height);
    path.line_to(0.0, base);
    let step = width / f32::from(STEPS);
    for index in 0..STEPS {
        let from = f32::from(index) * step;
        let crest = base - rise * (2.0 * chance.next() - 0.6);
        path.quad_to(
            from + step / 2.0,
            crest,
            from + step,
            base - rise * 0.3 * chance.next(),
        );
    }
    path.line_to(width, height);
    path.close();
    path.finish()
}

fn gradient(from: Color, to: Color, top: f32, bottom: f32) -> Option<Paint<'static>> {
    let stops = vec![GradientStop::new(0.0, from), GradientStop::new(1.0, to)];
    let (start, end) = (Point::from_xy(0.0, top), Point::from_xy(0.0, bottom));
    let shader = LinearGradient::new(start, end, stops, SpreadMode::Pad, Transform::identity())?;
    Some(Paint {
        shader,
        anti_alias: true,
        ..Paint::default()
    })
}

/// A color by hue in degrees, saturation and lightness.
fn color(hue: f32, saturation: f32, lightness: f32) -> Color {
    let spread = saturation * lightness.min(1.0 - lightness);
    let channel = |offset: f32| {
        let position = (offset + hue.rem_euclid(360.0) / 30.0) % 12.0;
        (lightness - spread * (position - 3.0).min(9.0 - position).clamp(-1.0, 1.0)).clamp(0.0, 1.0)
    };
    Color::from_rgba(channel(0.0), channel(8.0), channel(4.0), 1.0).unwrap_or(Color::BLACK)
}

/// Numbers that look like chance and are the same for the same prompt and seed.
struct Chance {
    state: Sha256,
}

impl Chance {
    fn of(prompt: &str, seed: u64) -> Self {
        Self {
            state: Sha256::new()
                .chain_update(prompt)
                .chain_update(seed.to_le_bytes()),
        }
    }

    /// From 0 to 1.
    fn next(&mut self) -> f32 {
        let digest = self.state.finalize_reset();
        self.state.update(digest);
        f32::from(u16::from_le_bytes([digest[0], digest[1]])) / f32::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(seed: u64, format: Format) -> Picture {
        Picture {
            prompt: "a fox".to_owned(),
            seed,
            format,
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
                u32::from(WIDTH)
            );
            assert_eq!(bytes, render(&picture(1, format)).unwrap());
            assert_ne!(bytes, render(&picture(2, format)).unwrap());
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
