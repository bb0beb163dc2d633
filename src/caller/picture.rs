//! Pictures in the terminal, drawn with half blocks, which every terminal and multiplexer supports.

use std::{
    env,
    io::{IsTerminal, Write},
};

use clap::ValueEnum;
use darkroom_client::{
    Client,
    types::{resource::Job, status::MediaStatus},
};
use image::{DynamicImage, RgbaImage, imageops};

/// Condition for showing pictures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless `CI` or `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always, even if standard output is not a terminal.
    Always,
    /// Never.
    Never,
}

/// Largest height of pictures, in terminal rows.
const ROWS: u32 = 24;

/// Largest number of pictures shown side by side.
const SIDE_BY_SIDE: usize = 4;

/// Height of pictures before they are scaled to the terminal, and the gap between them, in pixels.
const HEIGHT: u32 = 384;
const GAP: u32 = 8;

/// Shows the first pictures of a job, from their previews. Skips what cannot be fetched or decoded:
/// the caller prints the URLs in any case.
pub(crate) async fn show(client: &Client, job: &Job, when: When) {
    if !is_wanted(when) {
        return;
    }
    let mut pictures = Vec::new();
    for media in &job.media {
        if media.status != MediaStatus::Completed || pictures.len() == SIDE_BY_SIDE {
            continue;
        }
        if let Ok(Some(bytes)) = client.read_preview(media).await
            && let Ok(picture) = image::load_from_memory(&bytes)
        {
            pictures.push(picture);
        }
    }
    if let Some(sheet) = sheet(&pictures) {
        let (rows, columns) = console::Term::stdout().size();
        // Leaves room for the prompt and the lines below the pictures.
        let rows = u32::from(rows).saturating_sub(4).clamp(4, ROWS);
        let drawn = draw(&sheet, columns.into(), rows, Colors::of_terminal());
        let _ = std::io::stdout().write_all(drawn.as_bytes());
    }
}

fn is_wanted(when: When) -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            std::io::stdout().is_terminal() && !is_dumb && !is_set("CI") && !is_set("NO_COLOR")
        }
    }
}

/// Arranges pictures side by side, scaled to the same height.
fn sheet(pictures: &[DynamicImage]) -> Option<DynamicImage> {
    let even: Vec<_> = pictures
        .iter()
        .map(|picture| {
            picture
                .resize(u32::from(u16::MAX), HEIGHT, imageops::FilterType::Triangle)
                .into_rgba8()
        })
        .collect();
    if let [only] = even.as_slice() {
        return Some(only.clone().into());
    }
    let gaps = u32::try_from(even.len().checked_sub(1)?).ok()? * GAP;
    let width = even.iter().map(RgbaImage::width).sum::<u32>() + gaps;
    let mut sheet = RgbaImage::new(width, HEIGHT);
    let mut left = 0;
    for picture in even {
        imageops::replace(&mut sheet, &picture, left.into(), 0);
        left += picture.width() + GAP;
    }
    Some(sheet.into())
}

/// Draws a picture with half blocks: the foreground color of a cell is the upper pixel, its
/// background color the lower one.
fn draw(sheet: &DynamicImage, columns: u32, rows: u32, colors: Colors) -> String {
    let small = sheet
        .resize(columns, rows * 2, imageops::FilterType::Triangle)
        .into_rgba8();
    let mut drawn = String::new();
    for row in 0..small.height().div_ceil(2) {
        for column in 0..small.width() {
            let upper = small.get_pixel(column, row * 2);
            let lower = small.get_pixel_checked(column, row * 2 + 1);
            let cell = match (upper.0, lower.map(|pixel| pixel.0)) {
                ([.., 0], None | Some([.., 0])) => "\x1b[0m ".to_owned(),
                (upper, Some(lower)) => {
                    let (letter, ground) = (colors.code(upper), colors.code(lower));
                    format!("\x1b[38;{letter};48;{ground}m▀")
                }
                (upper, None) => format!("\x1b[0;38;{}m▀", colors.code(upper)),
            };
            drawn.push_str(&cell);
        }
        drawn += "\x1b[0m\n";
    }
    drawn
}

/// Color depth of a terminal.
#[derive(Clone, Copy)]
enum Colors {
    /// 24-bit colors.
    True,
    /// The 216 colors of the 6 × 6 × 6 cube.
    Cube,
}

impl Colors {
    fn of_terminal() -> Self {
        let name = env::var("COLORTERM").unwrap_or_default();
        if ["truecolor", "24bit"].contains(&name.as_str()) {
            Self::True
        } else {
            Self::Cube
        }
    }

    /// Color parameters of an SGR sequence, as defined by
    /// [ECMA-48](https://ecma-international.org/publications-and-standards/standards/ecma-48/).
    fn code(self, [red, green, blue, _]: [u8; 4]) -> String {
        let step = |channel: u8| (u16::from(channel) * 5 + 127) / 255;
        match self {
            Self::True => format!("2;{red};{green};{blue}"),
            Self::Cube => format!("5;{}", 16 + 36 * step(red) + 6 * step(green) + step(blue)),
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    #[test]
    fn two_pixels_share_a_cell() {
        let mut picture = RgbaImage::from_pixel(2, 3, Rgba([255, 0, 0, 255]));
        picture.put_pixel(0, 1, Rgba([0, 0, 255, 255]));
        let drawn = draw(&picture.into(), 2, 2, Colors::True);
        assert_eq!(drawn.matches('▀').count(), 4);
        assert_eq!(drawn.lines().count(), 2);
    }

    #[test]
    fn colors_are_reduced_to_the_terminals() {
        assert_eq!(Colors::True.code([1, 2, 3, 255]), "2;1;2;3");
        assert_eq!(Colors::Cube.code([255, 255, 255, 255]), "5;231");
        assert_eq!(Colors::Cube.code([0, 0, 0, 255]), "5;16");
    }

    #[test]
    fn pictures_stand_side_by_side() {
        let picture = || DynamicImage::from(RgbaImage::new(20, 10));
        assert_eq!(sheet(&[]).map(|sheet| sheet.width()), None);
        assert_eq!(sheet(&[picture()]).unwrap().width(), 2 * HEIGHT);
        assert_eq!(
            sheet(&[picture(), picture()]).unwrap().width(),
            4 * HEIGHT + GAP
        );
    }
}
