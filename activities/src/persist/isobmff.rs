//! Reads the boxes of an MP4 or MOV file as they pass: the duration of the movie and its
//! dimensions. Media data are skipped, so a movie header is found at either end of a file of any
//! length. <https://developer.apple.com/documentation/quicktime-file-format>

use serde::{Deserialize, Serialize};

/// Number of bytes of a movie box that are kept: its header and its first track. They go into
/// heartbeats.
const MAX_BYTES: usize = 8 * 1024;

/// Maximum depth of nested boxes.
const DEPTH: u32 = 4;

/// Dimensions and duration of a movie.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Movie {
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) duration_ms: Option<u64>,
}

impl Movie {
    fn read(movie_box: &[u8]) -> Self {
        let mut movie = Self::default();
        read(movie_box, DEPTH, &mut movie);
        movie
    }
}

/// State of the parser after some bytes of a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Boxes {
    /// Within the header of a box.
    Header(Vec<u8>),
    /// Within a box that is skipped, with so many bytes left.
    Other(u64),
    /// Within the movie box.
    Movie { left: u64, seen: Vec<u8> },
    /// The movie box has been read, or the file is invalid.
    Done(Movie),
}

impl Default for Boxes {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

impl Boxes {
    /// Takes the next bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (next, rest) = self.step(bytes);
            bytes = rest;
            if let Some(next) = next {
                *self = next;
            }
        }
    }

    /// Returns the facts in the movie box, as far as it has passed.
    pub(super) fn movie(&self) -> Movie {
        match self {
            Self::Header(_) | Self::Other(_) => Movie::default(),
            Self::Movie { seen, .. } => Movie::read(seen),
            Self::Done(movie) => *movie,
        }
    }

    /// Takes some bytes. Returns the next state, if it changes, and the rest of the bytes.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> (Option<Self>, &'a [u8]) {
        match self {
            Self::Header(header) => {
                let whole = if header.get(..4) == Some(&[0, 0, 0, 1]) {
                    16
                } else {
                    8
                };
                let (taken, rest) = split(bytes, (whole - header.len()) as u64);
                header.extend(taken);
                // A length of 1 announces a longer header with a 64-bit length.
                let is_longer = header.get(..4) == Some(&[0, 0, 0, 1]) && header.len() < 16;
                let next = (header.len() >= 8 && !is_longer).then(|| Self::after(header));
                (next, rest)
            }
            Self::Other(left) => {
                let (taken, rest) = split(bytes, *left);
                *left -= taken.len() as u64;
                ((*left == 0).then(Self::default), rest)
            }
            Self::Movie { left, seen } => {
                let (taken, rest) = split(bytes, *left);
                *left -= taken.len() as u64;
                seen.extend(&taken[..taken.len().min(MAX_BYTES - seen.len())]);
                let is_enough = *left == 0 || seen.len() == MAX_BYTES;
                (is_enough.then(|| Self::Done(Movie::read(seen))), rest)
            }
            Self::Done(_) => (None, &[]),
        }
    }

    /// Returns the state after a header.
    fn after(header: &[u8]) -> Self {
        let Some((kind, length)) = parse(header) else {
            return Self::Done(Movie::default());
        };
        match (kind, length) {
            (b"moov", length) => Self::Movie {
                // A box without a length extends to the end of the file.
                left: length.unwrap_or(u64::MAX),
                seen: Vec::new(),
            },
            (_, Some(0)) => Self::default(),
            (_, length) => Self::Other(length.unwrap_or(u64::MAX)),
        }
    }
}

fn split(bytes: &[u8], at: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len()))
}

/// Returns the type of a box, and the length of its content; `None` within if it extends to the end
/// of the file.
fn parse(header: &[u8]) -> Option<(&[u8; 4], Option<u64>)> {
    let kind = header.get(4..8)?.try_into().ok()?;
    let length = match number(header.get(..4)?) {
        0 => None,
        1 => Some(number(header.get(8..16)?).checked_sub(16)?),
        length => Some(length.checked_sub(8)?),
    };
    Some((kind, length))
}

/// Reads the boxes within a movie box.
fn read(mut bytes: &[u8], depth: u32, movie: &mut Movie) {
    while let Some((kind, Some(length))) = parse(bytes) {
        let header = if bytes.starts_with(&[0, 0, 0, 1]) {
            16
        } else {
            8
        };
        let (inside, rest) = split(&bytes[header..], length);
        match kind {
            b"trak" if depth > 0 => read(inside, depth - 1, movie),
            b"mvhd" => movie.duration_ms = duration(inside),
            b"tkhd" if movie.width.is_none() => (movie.width, movie.height) = size(inside),
            _ => {}
        }
        bytes = rest;
    }
}

fn duration(header: &[u8]) -> Option<u64> {
    let (scale, duration) = match header.first()? {
        1 => (header.get(20..24)?, header.get(24..32)?),
        _ => (header.get(12..16)?, header.get(16..20)?),
    };
    let is_unknown = duration.iter().all(|byte| *byte == 0xff);
    let (scale, duration) = (number(scale), number(duration));
    let is_known = scale > 0 && duration > 0 && !is_unknown;
    is_known
        .then(|| duration.checked_mul(1000)?.checked_div(scale))
        .flatten()
}

/// Dimensions of a track, in whole pixels; an audio track has none.
fn size(header: &[u8]) -> (Option<u32>, Option<u32>) {
    let at = if header.first() == Some(&1) { 88 } else { 76 };
    let pixels = |at: usize| {
        let number = number(header.get(at..at + 2)?);
        u32::try_from(number).ok().filter(|pixels| *pixels > 0)
    };
    (pixels(at), pixels(at + 4))
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: [u8; 4], inside: &[u8]) -> Vec<u8> {
        let length = u32::try_from(inside.len() + 8).unwrap();
        [&length.to_be_bytes()[..], &kind, inside].concat()
    }

    fn movie_box() -> Vec<u8> {
        let mut header = vec![0; 100];
        header[12..16].copy_from_slice(&600_u32.to_be_bytes());
        header[16..20].copy_from_slice(&3150_u32.to_be_bytes());
        let mut sound = vec![0; 84];
        let mut picture = vec![0; 84];
        picture[76..78].copy_from_slice(&1280_u16.to_be_bytes());
        picture[80..82].copy_from_slice(&720_u16.to_be_bytes());
        sound[0] = 0;
        let tracks = [sound, picture].map(|track| boxed(*b"trak", &boxed(*b"tkhd", &track)));
        boxed(
            *b"moov",
            &[boxed(*b"mvhd", &header), tracks.concat()].concat(),
        )
    }

    #[test]
    fn a_movie_box_is_read_at_either_end_and_in_pieces_of_any_size() {
        let begin = boxed(*b"ftyp", b"isom\0\0\x02\0");
        let media = boxed(*b"mdat", &vec![7; 100_000]);
        let mut long = vec![0, 0, 0, 1];
        long.extend(b"mdat");
        long.extend((100_016_u64).to_be_bytes());
        long.extend(vec![7; 100_000]);
        let expected = Movie {
            width: Some(1280),
            height: Some(720),
            duration_ms: Some(5250),
        };
        for file in [
            [&begin[..], &movie_box(), &media].concat(),
            [&begin[..], &media, &movie_box()].concat(),
            [&begin[..], &long, &movie_box()].concat(),
        ] {
            for pieces in [1, 13, 4096, file.len()] {
                let mut boxes = Boxes::default();
                for piece in file.chunks(pieces) {
                    boxes.update(piece);
                }
                assert_eq!(boxes.movie(), expected, "{pieces}");
            }
        }
    }

    #[test]
    fn invalid_boxes_yield_no_facts() {
        for file in [
            &b"\0\0\0\x02moov"[..],
            b"\0\0\0\0mdat....",
            b"",
            b"\0\0\0\x08free\0\0\0\x09moov\x01",
        ] {
            let mut boxes = Boxes::default();
            boxes.update(file);
            assert_eq!(boxes.movie(), Movie::default());
        }
    }
}
