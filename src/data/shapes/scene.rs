//! The four backgrounds. Coordinates are those of a picture of 96 x 96.

use rand::{Rng, RngExt};

use super::noise::{Noise, blend, hsv, mix, smoothstep};

/// A kind of background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    Sky,
    Grass,
    Sand,
    Stone,
}

/// Colour and height of a surface, row by row; the height is in pixels.
struct Surface {
    colours: Vec<[f32; 3]>,
    heights: Vec<f32>,
}

impl Scene {
    pub const ALL: [Self; 4] = [Self::Sky, Self::Grass, Self::Sand, Self::Stone];

    /// The background, row by row, with values around [0, 1]; `light` is the direction to the light.
    pub fn paint(self, size: u32, light: [f32; 2], rng: &mut impl Rng) -> Vec<[f32; 3]> {
        let surface = match self {
            Self::Sky => return sky(size, light, rng),
            Self::Grass => grass(size, rng),
            Self::Sand => sand(size, rng),
            Self::Stone => stone(size, rng),
        };
        lit(surface, size, light, Noise::random(rng))
    }
}

/// Calls `f(x, y)` for each pixel, row by row, in the coordinates of a picture of 96 x 96.
fn fill<T>(size: u32, mut f: impl FnMut(f32, f32) -> T) -> Vec<T> {
    let step = 96.0 / size as f32;
    let mut values = Vec::with_capacity((size * size) as usize);
    for y in 0..size {
        values.extend((0..size).map(|x| f(x as f32 * step, y as f32 * step)));
    }
    values
}

/// Shades a surface by its slope towards the light, and by uneven illumination.
fn lit(surface: Surface, size: u32, light: [f32; 2], uneven: Noise) -> Vec<[f32; 3]> {
    let step = 96.0 / size as f32;
    let size = size as usize;
    let heights = surface.heights;
    let height = |x: usize, y: usize| heights[y * size + x];
    let (before, after) = (|v: usize| v.saturating_sub(1), |v: usize| (v + 1).min(size - 1));
    let mut colours = surface.colours;
    for y in 0..size {
        for x in 0..size {
            let slope = [
                height(after(x), y) - height(before(x), y),
                height(x, after(y)) - height(x, before(y)),
            ];
            let facing = -(slope[0] * light[0] + slope[1] * light[1]) / (2.0 * step);
            let far = uneven.smooth(x as f32 * step / 60.0, y as f32 * step / 60.0);
            let shade = (1.0 + 0.5 * facing).clamp(0.45, 1.5) * (1.0 + 0.12 * far);
            colours[y * size + x] = colours[y * size + x].map(|v| v * shade);
        }
    }
    colours
}

fn sky(size: u32, light: [f32; 2], rng: &mut impl Rng) -> Vec<[f32; 3]> {
    let clouds = Noise::random(rng);
    let hue = rng.random_range(0.55..0.63);
    let top = hsv(hue, rng.random_range(0.4..0.7), rng.random_range(0.65..0.95));
    let haze = hsv(rng.random_range(0.05..0.6), rng.random_range(0.02..0.15), 0.92);
    let bottom = blend(top, haze, rng.random_range(0.35..0.85));
    let cover = rng.random_range(-0.25..0.45);
    let scale = rng.random_range(20.0..40.0);
    let densities = fill(size, |x, y| clouds.fractal(x / scale, y / (scale * 0.6), 4));
    let density = |x: f32, y: f32| {
        let pixel = |v: f32| ((v * size as f32 / 96.0 + 0.5).max(0.0) as usize).min(size as usize - 1);
        densities[pixel(y) * size as usize + pixel(x)]
    };
    fill(size, |x, y| {
        let air = blend(top, bottom, y / 96.0);
        let here = density(x, y);
        let shade = 0.9 + 0.3 * (here - density(x + 3.0 * light[0], y + 3.0 * light[1]));
        let cloud = [shade, shade, shade * 1.02];
        blend(air, cloud, 0.9 * smoothstep(cover, cover + 0.6, here))
    })
}

fn grass(size: u32, rng: &mut impl Rng) -> Surface {
    let soil = Noise::random(rng);
    let hue = rng.random_range(0.21..0.33);
    let vivid = rng.random_range(0.45..0.75);
    let bright = rng.random_range(0.4..0.65);
    let mut colours = fill(size, |x, y| {
        let n = soil.fractal(x / 24.0, y / 18.0, 3);
        hsv(hue + 0.03 * n, vivid, bright * (0.55 + 0.2 * n))
    });
    let mut heights = vec![0.0; colours.len()];
    let scale = size as f32 / 96.0;
    let wind: f32 = rng.random_range(-0.5..0.5);
    let blades = 620;
    // Blades are laid from the far edge to the near one; near ones are longer and cover far ones.
    for blade in 0..blades {
        let depth = blade as f32 / blades as f32;
        let (foot_x, foot_y) = (rng.random_range(-4.0..100.0), depth * 112.0);
        let length = rng.random_range(6.0..11.0) + 8.0 * depth;
        let lean = wind + rng.random_range(-0.6..0.6);
        let clump = soil.smooth(foot_x / 30.0, foot_y / 30.0);
        let tone = bright * (0.85 + 0.25 * clump + rng.random_range(-0.25..0.3));
        let tint = hue + 0.04 * clump + rng.random_range(-0.04..0.03);
        let steps = (length * scale).ceil();
        for step in 0..steps as u32 {
            let along = step as f32 / steps;
            let x = (foot_x + lean * length * along * along) * scale;
            let y = (foot_y - length * along) * scale;
            let width = (1.5 * (1.0 - along) + 0.5) * scale;
            let colour = hsv(
                tint - 0.02 * along,
                vivid * (1.0 - 0.25 * along),
                tone * (0.65 + 0.5 * along),
            );
            for dx in 0..width.ceil() as i32 {
                let (column, row) = (x as i32 + dx, y as i32);
                let inside = 0..size as i32;
                if x >= 0.0 && y >= 0.0 && inside.contains(&column) && inside.contains(&row) {
                    let at = (row as u32 * size + column as u32) as usize;
                    colours[at] = blend(colours[at], colour, (width - dx as f32).min(1.0));
                    heights[at] = 0.4 * along;
                }
            }
        }
    }
    Surface { colours, heights }
}

fn sand(size: u32, rng: &mut impl Rng) -> Surface {
    let (dunes, grain) = (Noise::random(rng), Noise::random(rng));
    let hue = rng.random_range(0.07..0.125);
    let vivid = rng.random_range(0.22..0.48);
    let bright = rng.random_range(0.68..0.92);
    let (sin, cos) = rng.random_range(-0.6_f32..0.6).sin_cos();
    let length: f32 = rng.random_range(6.0..12.0);
    let steep = rng.random_range(0.4..1.3);
    let ripple = |x: f32, y: f32| {
        let bend = 1.3 * dunes.fractal(x / 45.0, y / 30.0, 2);
        let phase = std::f32::consts::TAU * ((y * cos + x * sin) / length + bend);
        let strength = steep * (0.55 + 0.6 * dunes.smooth(x / 50.0 + 7.0, y / 50.0));
        strength.max(0.0) * (phase.sin() + 0.3 * (2.0 * phase + 1.0).sin())
    };
    let speck = |x: f32, y: f32| grain.grain((x * 1.3) as i32, (y * 1.3) as i32);
    let colours = fill(size, |x, y| {
        let n = dunes.fractal(x / 34.0 + 3.0, y / 34.0, 4);
        hsv(
            hue + 0.012 * n,
            vivid * (1.0 - 0.15 * n),
            bright * (0.93 + 0.1 * n + 0.05 * speck(x, y)),
        )
    });
    let heights = fill(size, |x, y| ripple(x, y) * length / 22.0 + 0.12 * speck(x, y));
    Surface { colours, heights }
}

fn stone(size: u32, rng: &mut impl Rng) -> Surface {
    let (rock, veins, lichen) = (Noise::random(rng), Noise::random(rng), Noise::random(rng));
    let hue = rng.random_range(0.02..0.13) + if rng.random_bool(0.3) { 0.5 } else { 0.0 };
    let vivid = rng.random_range(0.04..0.2);
    let bright = rng.random_range(0.42..0.68);
    let scale = rng.random_range(24.0..42.0);
    let spots = rng.random_range(0.35..0.8);
    // A crack runs where warped noise changes its sign.
    let crack = |x: f32, y: f32| {
        let warp = 6.0 * rock.fractal(x / 31.0, y / 31.0, 2);
        let wide = veins.smooth((x + warp) / scale, (y - warp) / scale).abs();
        let fine = veins
            .fractal((x - warp) / scale * 1.9 + 5.0, (y + warp) / scale * 1.9, 2)
            .abs();
        (1.0 - smoothstep(0.01, 0.05, wide)).max(0.6 * (1.0 - smoothstep(0.01, 0.05, fine)))
    };
    let mut heights = Vec::with_capacity((size * size) as usize);
    let colours = fill(size, |x, y| {
        let depth = crack(x, y);
        let n = rock.fractal(x / 22.0, y / 22.0, 4);
        heights.push(2.4 * n - 1.2 * depth);
        let speck = rock.grain((x * 1.7) as i32, (y * 1.7) as i32);
        let base = hsv(
            hue,
            vivid,
            bright * (1.0 + 0.25 * n + 0.06 * speck) * (1.0 - 0.5 * depth),
        );
        let patch = smoothstep(spots, spots + 0.25, lichen.fractal(x / 16.0, y / 16.0, 3));
        blend(
            base,
            hsv(mix(0.14, 0.24, n), 0.3, bright * (0.95 + 0.2 * n)),
            0.55 * patch,
        )
    });
    Surface { colours, heights }
}
