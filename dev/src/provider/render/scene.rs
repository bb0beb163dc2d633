//! Scenes: hills, mountains, sea or city under a sky, chosen by the words of the prompt.

use sha2::{Digest, Sha256};
use tiny_skia::{
    Color, FillRule, GradientStop, LinearGradient, Paint, Path, PathBuilder, Pixmap, Point, Rect,
    Shader, SpreadMode, Transform,
};

use crate::provider::prediction::Picture;

/// Number of layers of hills, waves or roofs, one behind the other.
const RANGES: u8 = 5;

/// Kind of landscape.
#[derive(Clone, Copy)]
enum Scene {
    Hills,
    Mountains,
    Sea,
    City,
}

impl Scene {
    /// Chooses a scene by a word of the prompt, or at random if no word matches.
    fn of(prompt: &str, rng: &mut SeededRng) -> Self {
        const WORDS: [(Scene, &[&str]); 4] = [
            (
                Scene::Sea,
                &[
                    "sea",
                    "ocean",
                    "wave",
                    "bay",
                    "harbor",
                    "lighthouse",
                    "ship",
                    "boat",
                ],
            ),
            (
                Scene::Mountains,
                &["mountain", "peak", "alp", "ridge", "snow", "fox"],
            ),
            (
                Scene::City,
                &[
                    "city",
                    "street",
                    "roof",
                    "tower",
                    "night train",
                    "portrait",
                    "robot",
                ],
            ),
            (
                Scene::Hills,
                &[
                    "hill", "field", "meadow", "dusk", "forest", "pine", "garden",
                ],
            ),
        ];
        let prompt = prompt.to_lowercase();
        let is_named = |words: &[&str]| words.iter().any(|word| prompt.contains(word));
        let named = WORDS.iter().find(|(_, words)| is_named(words));
        let any = [Self::Hills, Self::Mountains, Self::Sea, Self::City];
        match (named, rng.next()) {
            (Some((scene, _)), _) => *scene,
            (None, value) if value < 0.25 => any[0],
            (None, value) if value < 0.5 => any[1],
            (None, value) if value < 0.75 => any[2],
            (None, _) => any[3],
        }
    }
}

/// Paints the scene of the prompt, laid out by the seed.
pub(super) fn paint(picture: &Picture) -> Option<Pixmap> {
    let mut pixmap = Pixmap::new(picture.size.0.into(), picture.size.1.into())?;
    let (width, height) = (f32::from(picture.size.0), f32::from(picture.size.1));
    let mut of_prompt = SeededRng::of(&picture.prompt, 0);
    let hue = of_prompt.next() * 360.0;
    let scene = Scene::of(&picture.prompt, &mut of_prompt);
    let mut rng = SeededRng::of(&picture.prompt, picture.seed);
    // Brightness, from night to noon.
    let light = 0.25 + 0.75 * rng.next();
    let hue = hue + 50.0 * (rng.next() - 0.5);

    let sky = gradient(
        color(hue, 0.6, 0.1 + 0.4 * light),
        color(hue + 40.0, 0.75, 0.35 + 0.5 * light),
        0.0,
        height * 0.8,
    )?;
    fill(&mut pixmap, &rectangle(0.0, 0.0, width, height)?, &sky);
    if light < 0.55 {
        stars(&mut pixmap, &mut rng)?;
    }
    let radius = width.min(height) * (0.04 + 0.08 * rng.next());
    let sun = PathBuilder::from_circle(
        width * (0.15 + 0.7 * rng.next()),
        height * (0.12 + 0.3 * rng.next()),
        radius,
    )?;
    fill(&mut pixmap, &sun, &solid(color(hue + 60.0, 0.9, 0.92)));

    let horizon = match scene {
        Scene::Sea => 0.6,
        Scene::City => 0.55,
        Scene::Hills | Scene::Mountains => 0.42,
    };
    for range in 0..RANGES {
        let depth = f32::from(range) / f32::from(RANGES);
        let base = height * (horizon + (0.95 - horizon) * depth);
        let rise = height * 0.13 * (1.0 - 0.5 * depth);
        let land = match scene {
            Scene::Hills => hills(&mut rng, (width, height), base, rise)?,
            Scene::Mountains => mountains(&mut rng, (width, height), base, rise * 2.2)?,
            Scene::Sea => waves(&mut rng, (width, height), base, rise * 0.25)?,
            Scene::City => roofs(&mut rng, (width, height), base, rise * 2.5)?,
        };
        let ground = gradient(
            color(
                hue + 15.0 * depth,
                0.4,
                (0.5 - 0.4 * depth) * (0.5 + 0.5 * light),
            ),
            color(hue, 0.45, (0.3 - 0.25 * depth) * (0.5 + 0.5 * light)),
            base - rise,
            height,
        )?;
        fill(&mut pixmap, &land, &ground);
    }
    Some(pixmap)
}

fn fill(pixmap: &mut Pixmap, path: &Path, paint: &Paint) {
    pixmap.fill_path(path, paint, FillRule::Winding, Transform::identity(), None);
}

fn rectangle(left: f32, top: f32, width: f32, height: f32) -> Option<Path> {
    Some(PathBuilder::from_rect(Rect::from_xywh(
        left, top, width, height,
    )?))
}

fn stars(pixmap: &mut Pixmap, rng: &mut SeededRng) -> Option<()> {
    const STARS: u8 = 60;
    let width = pixmap.width().min(4096);
    let (width, height) = (
        f32::from(u16::try_from(width).ok()?),
        f32::from(u16::try_from(pixmap.height()).ok()?),
    );
    for _ in 0..STARS {
        let (x, y) = (width * rng.next(), height * 0.5 * rng.next());
        let star = PathBuilder::from_circle(x, y, 0.6 + rng.next())?;
        fill(pixmap, &star, &solid(color(60.0, 0.3, 0.95)));
    }
    Some(())
}

/// Returns a closed outline from edge to edge through these points, and down to the bottom.
fn range((width, height): (f32, f32), points: impl Iterator<Item = (f32, f32)>) -> Option<Path> {
    let mut path = PathBuilder::new();
    path.move_to(0.0, height);
    for (x, y) in points {
        path.line_to(x, y);
    }
    path.line_to(width, height);
    path.close();
    path.finish()
}

fn mountains(rng: &mut SeededRng, size: (f32, f32), base: f32, rise: f32) -> Option<Path> {
    const PEAKS: u8 = 9;
    let step = size.0 / f32::from(PEAKS);
    let points = (0..=PEAKS).map(|peak| {
        let height = if peak % 2 == 0 {
            0.1
        } else {
            0.5 + 0.5 * rng.next()
        };
        (f32::from(peak) * step, base - rise * height)
    });
    range(size, points)
}

fn waves(rng: &mut SeededRng, size: (f32, f32), base: f32, rise: f32) -> Option<Path> {
    const POINTS: u8 = 96;
    let (phase, length) = (rng.next() * 6.0, 3.0 + 5.0 * rng.next());
    let points = (0..=POINTS).map(|point| {
        let along = f32::from(point) / f32::from(POINTS);
        (
            size.0 * along,
            base - rise * (phase + along * length * std::f32::consts::TAU).sin(),
        )
    });
    range(size, points)
}

fn roofs(rng: &mut SeededRng, size: (f32, f32), base: f32, rise: f32) -> Option<Path> {
    const HOUSES: u8 = 12;
    let step = size.0 / f32::from(HOUSES);
    let points = (0..HOUSES).flat_map(|house| {
        let top = base - rise * (0.1 + 0.9 * rng.next() * rng.next());
        [
            (f32::from(house) * step, top),
            (f32::from(house + 1) * step, top),
        ]
    });
    range(size, points)
}

fn hills(rng: &mut SeededRng, (width, height): (f32, f32), base: f32, rise: f32) -> Option<Path> {
    const STEPS: u8 = 6;
    let mut path = PathBuilder::new();
    path.move_to(0.0, height);
    path.line_to(0.0, base);
    let step = width / f32::from(STEPS);
    for index in 0..STEPS {
        let from = f32::from(index) * step;
        let crest = base - rise * (2.0 * rng.next() - 0.6);
        path.quad_to(
            from + step / 2.0,
            crest,
            from + step,
            base - rise * 0.3 * rng.next(),
        );
    }
    path.line_to(width, height);
    path.close();
    path.finish()
}

fn solid(color: Color) -> Paint<'static> {
    Paint {
        shader: Shader::SolidColor(color),
        anti_alias: true,
        ..Paint::default()
    }
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

/// Returns a color from hue in degrees, saturation and lightness.
fn color(hue: f32, saturation: f32, lightness: f32) -> Color {
    let spread = saturation * lightness.min(1.0 - lightness);
    let channel = |offset: f32| {
        let position = (offset + hue.rem_euclid(360.0) / 30.0) % 12.0;
        (lightness - spread * (position - 3.0).min(9.0 - position).clamp(-1.0, 1.0)).clamp(0.0, 1.0)
    };
    Color::from_rgba(channel(0.0), channel(8.0), channel(4.0), 1.0).unwrap_or(Color::BLACK)
}

/// Pseudorandom numbers, seeded by prompt and seed.
struct SeededRng {
    state: Sha256,
}

impl SeededRng {
    fn of(prompt: &str, seed: u64) -> Self {
        Self {
            state: Sha256::new()
                .chain_update(prompt)
                .chain_update(seed.to_le_bytes()),
        }
    }

    /// Returns a number from 0 to 1.
    fn next(&mut self) -> f32 {
        let digest = self.state.finalize_reset();
        self.state.update(digest);
        f32::from(u16::from_le_bytes([digest[0], digest[1]])) / f32::from(u16::MAX)
    }
}
