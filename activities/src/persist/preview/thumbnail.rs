//! The thumbnail and the thumbhash of an image: decoding, within the memory that its header calls
//! for, scaling, and encoding. When a preview is made, and where it is stored, is not decided here.

use std::{io::Cursor, ops::RangeInclusive};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use darkroom_workflows::job::{Preview, PreviewFormat};
use image::{
    DynamicImage, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, ImageResult, Limits,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
};

/// Longer side of a preview, in pixels.
const SIDE: u32 = 512;

/// Longer side of the image that is hashed, in pixels: a thumbhash has no more than seven waves
/// across.
const HASHED_SIDE: u32 = 64;

/// Memory that decoding takes, as a multiple of the decoded image. A progressive JPEG keeps its
/// coefficients as well.
const MEMORY_FACTOR: u64 = 2;
const PROGRESSIVE_MEMORY_FACTOR: u64 = 4;

const JPEG_QUALITY: u8 = 82;

/// Largest color profile that is kept, in bytes: those of displays have a few hundred.
const MAX_PROFILE: usize = 64 * 1024;

/// Limit of the memory that reading a header takes beyond the length of the file, in bytes.
const MAX_HEADER: u64 = 1024 * 1024;

/// A preview with its bytes.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) preview: Preview,
    pub(super) bytes: Vec<u8>,
}

/// Format of an image that can be decoded; AVIF, HEIC and JPEG XL cannot.
pub(super) fn source_format(content_type: &str) -> Option<ImageFormat> {
    match content_type {
        "image/jpeg" => Some(ImageFormat::Jpeg),
        "image/png" => Some(ImageFormat::Png),
        "image/webp" => Some(ImageFormat::WebP),
        "image/gif" => Some(ImageFormat::Gif),
        _ => None,
    }
}

/// Memory that decoding an image takes, in bytes, read from its header; `None` if that is invalid.
pub(super) fn needed(bytes: &Bytes, format: ImageFormat) -> Option<u64> {
    // What the file says before its pixels may be as long as the file.
    let decoder = decoder(bytes, format, MAX_HEADER + bytes.len() as u64).ok()?;
    let factor = if format == ImageFormat::Jpeg && is_progressive(bytes) {
        PROGRESSIVE_MEMORY_FACTOR
    } else {
        MEMORY_FACTOR
    };
    let decoded = decoder.total_bytes().checked_mul(factor)?;
    // The decoder of JPEG copies the file.
    decoded.checked_add(match format {
        ImageFormat::Jpeg => bytes.len() as u64,
        _ => 0,
    })
}

/// Makes a preview of an image, within the memory that it needs.
pub(super) fn make(bytes: &Bytes, format: ImageFormat, needed: u64) -> ImageResult<Made> {
    let mut decoder = decoder(bytes, format, needed)?;
    let orientation = decoder.orientation()?;
    let profile = decoder.icc_profile()?;
    // Only a profile for RGB fits the colors that are written.
    let is_kept =
        |profile: &Vec<u8>| profile.len() <= MAX_PROFILE && profile.get(16..20) == Some(b"RGB ");
    let profile = profile.filter(is_kept);
    let picture = DynamicImage::from_decoder(decoder)?;
    let mut small = if picture.width().max(picture.height()) > SIDE {
        picture.thumbnail(SIDE, SIDE)
    } else {
        picture
    };
    small.apply_orientation(orientation);
    let rgba = small.to_rgba8();
    let is_opaque = rgba.pixels().all(|pixel| pixel[3] == u8::MAX);
    let hashed = DynamicImage::ImageRgba8(rgba)
        .thumbnail(HASHED_SIDE, HASHED_SIDE)
        .into_rgba8();
    let (width, height) = (hashed.width() as usize, hashed.height() as usize);
    let thumbhash = thumbhash::rgba_to_thumb_hash(width, height, hashed.as_raw());
    let mut bytes = Vec::new();
    let format = if is_opaque {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        encode(
            encoder,
            &DynamicImage::ImageRgb8(small.into_rgb8()),
            profile,
        )?;
        PreviewFormat::Jpg
    } else {
        let encoder = PngEncoder::new(&mut bytes);
        encode(
            encoder,
            &DynamicImage::ImageRgba8(small.into_rgba8()),
            profile,
        )?;
        PreviewFormat::Png
    };
    let thumbhash = BASE64_STANDARD.encode(thumbhash);
    Ok(Made {
        preview: Preview { format, thumbhash },
        bytes,
    })
}

/// Reads the header of an image. The limit of memory, in bytes, holds from here on: a compressed
/// color profile that exceeds it is ignored.
fn decoder(
    bytes: &Bytes,
    format: ImageFormat,
    max_alloc: u64,
) -> ImageResult<impl ImageDecoder + '_> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_alloc);
    reader.limits(limits);
    reader.into_decoder()
}

/// Encodes an image, with its color profile.
fn encode(
    mut encoder: impl ImageEncoder,
    picture: &DynamicImage,
    profile: Option<Vec<u8>>,
) -> ImageResult<()> {
    if let Some(profile) = profile {
        // Ignored: a format without profiles shows the colors as they are.
        let _ = encoder.set_icc_profile(profile);
    }
    picture.write_with_encoder(encoder)
}

/// Returns true if a JPEG is progressive: <https://www.w3.org/Graphics/JPEG/itu-t81.pdf>, table
/// B.1.
fn is_progressive(bytes: &[u8]) -> bool {
    const PROGRESSIVE: u8 = 0xc2;
    const FRAMES: RangeInclusive<u8> = 0xc0..=0xcf;
    // DHT, JPG and DAC: markers within the range of frames that begin no frame.
    const OTHERS: [u8; 3] = [0xc4, 0xc8, 0xcc];
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if FRAMES.contains(&marker) && !OTHERS.contains(&marker) {
            return marker == PROGRESSIVE;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    false
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Bytes {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner().into()
    }

    fn picture(width: u32, height: u32, alpha: u8) -> DynamicImage {
        RgbaImage::from_fn(width, height, |x, y| {
            Rgba([x.to_le_bytes()[0], y.to_le_bytes()[0], 90, alpha])
        })
        .into()
    }

    fn made(bytes: &Bytes, format: ImageFormat) -> Option<Made> {
        make(bytes, format, needed(bytes, format)?).ok()
    }

    #[test]
    fn needed_memory_is_read_from_the_header() {
        let picture = DynamicImage::ImageRgb8(picture(100, 50, 255).into_rgb8());
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let bytes = encoded(&picture, format);
            let copy = match format {
                ImageFormat::Jpeg => bytes.len() as u64,
                _ => 0,
            };
            let expected = 100 * 50 * 3 * MEMORY_FACTOR + copy;
            assert_eq!(needed(&bytes, format), Some(expected));
        }
        let deep = encoded(&picture.to_rgba16().into(), ImageFormat::Png);
        assert_eq!(
            needed(&deep, ImageFormat::Png),
            Some(100 * 50 * 8 * MEMORY_FACTOR)
        );
        let progressive = b"\xff\xd8\xff\xe0\0\x04JF\xff\xc4\0\x03\0\xff\xc2\0\x11";
        assert!(is_progressive(progressive));
        assert!(!is_progressive(&encoded(&picture, ImageFormat::Jpeg)));
    }

    #[test]
    fn a_compressed_profile_takes_no_memory() {
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        encoder.set_icc_profile(vec![0; 8 << 20]).unwrap();
        picture(10, 10, 255).write_with_encoder(encoder).unwrap();
        assert!(bytes.len() < 64 * 1024);
        let bytes = bytes.into();
        let mut decoder = decoder(&bytes, ImageFormat::Png, MAX_HEADER).unwrap();
        assert_eq!(decoder.icc_profile().unwrap(), None);
    }

    #[test]
    fn a_preview_is_small_and_keeps_the_aspect_ratio() {
        for (width, height, expected) in [
            (1600, 800, (512, 256)),
            (300, 1200, (128, 512)),
            (200, 100, (200, 100)),
        ] {
            let picture = DynamicImage::ImageRgb8(picture(width, height, 255).into_rgb8());
            for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
                let made = made(&encoded(&picture, format), format).unwrap();
                assert_eq!(made.preview.format, PreviewFormat::Jpg);
                let read = image::load_from_memory(&made.bytes).unwrap();
                assert_eq!((read.width(), read.height()), expected, "{format:?}");
                let hash = BASE64_STANDARD.decode(made.preview.thumbhash).unwrap();
                assert!((5..=32).contains(&hash.len()), "{}", hash.len());
            }
        }
    }

    #[test]
    fn transparency_is_kept() {
        let bytes = encoded(&picture(800, 600, 100), ImageFormat::Png);
        let made = made(&bytes, ImageFormat::Png).unwrap();
        assert_eq!(made.preview.format, PreviewFormat::Png);
        let read = image::load_from_memory(&made.bytes).unwrap().into_rgba8();
        assert_eq!(read.get_pixel(10, 10)[3], 100);
    }

    #[test]
    fn a_broken_picture_has_no_preview() {
        let png = encoded(&picture(64, 64, 255), ImageFormat::Png);
        for bytes in [&b"\x89PNG\r\n\x1a\n"[..], &png[..100], b""] {
            assert!(made(&Bytes::copy_from_slice(bytes), ImageFormat::Png).is_none());
        }
        assert_eq!(source_format("image/avif"), None);
    }
}
