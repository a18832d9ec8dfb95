//! Painting a picture: background, objects with their shadows, and the camera.

use std::f32::consts::TAU;

use image::{Rgb, RgbImage};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::CLASSES;
use super::layout::Layout;
use super::noise::{Noise, hsv, smoothstep};
use super::object::Object;

type Canvas = Vec<[f32; 3]>;

/// Paints the layout: all that is random here is looks, not geometry.
pub(super) fn picture(layout: &Layout, rng: &mut impl Rng) -> RgbImage {
    // The light comes from above, from the left or the right.
    let angle = TAU * rng.random_range(0.55..0.95);
    let light = [angle.cos(), angle.sin()];
    let mut canvas = layout.scene.paint(layout.size, light, rng);
    for (number, object) in layout.objects.iter().enumerate() {
        cast_shadow(&mut canvas, object, layout.size, light);
        let look = Look::random(object.class, layout.hue_noise, rng);
        paint_object(&mut canvas, layout, number, object, &look, light);
    }
    expose(&blur(canvas, layout.size), layout.size, rng)
}

/// Colours and texture of an object.
struct Look {
    hue: f32,
    saturation: f32,
    value: f32,
    marker: [[f32; 3]; 2],
    texture: Noise,
    /// Size of the texture's largest features in pixels of a picture of 96 x 96, along and across its direction.
    grain: [f32; 2],
    direction: [f32; 2],
    contrast: f32,
    gradient: f32,
    gloss: f32,
}

impl Look {
    fn random(class: usize, hue_noise: f64, rng: &mut impl Rng) -> Self {
        let normal: f64 = StandardNormal.sample(rng);
        let mut tone = |saturation: std::ops::Range<f32>, value: std::ops::Range<f32>| {
            hsv(rng.random(), rng.random_range(saturation), rng.random_range(value))
        };
        let mut marker = [tone(0.15..0.8, 0.8..1.0), tone(0.2..0.8, 0.08..0.34)];
        if rng.random_bool(0.5) {
            marker.swap(0, 1);
        }
        let turn = rng.random_range(0.0..TAU);
        let grain = rng.random_range(5.0..16.0);
        Self {
            hue: class as f32 / CLASSES.len() as f32 + (normal * hue_noise) as f32,
            saturation: rng.random_range(0.3..0.8),
            value: rng.random_range(0.4..0.85),
            marker,
            texture: Noise::random(rng),
            grain: [grain * rng.random_range(1.0..2.5), grain],
            direction: [turn.cos(), turn.sin()],
            contrast: rng.random_range(0.08..0.28),
            gradient: rng.random_range(0.1..0.3),
            gloss: rng.random_range(0.0..0.25),
        }
    }
}

/// Darkens what lies behind the object, softly, on the side away from the light.
fn cast_shadow(canvas: &mut Canvas, object: &Object, size: u32, light: [f32; 2]) {
    let offset = light.map(|v| v * 0.2 * object.radius);
    let [columns, rows] = object.bounds(0.7, size);
    for y in rows {
        for x in columns.clone() {
            let level = object.level(x as f32 + offset[0], y as f32 + offset[1]);
            let shade = 1.0 - 0.42 * smoothstep(1.35, 0.8, level);
            let pixel = &mut canvas[(y * size + x) as usize];
            *pixel = pixel.map(|v| v * shade);
        }
    }
}

fn paint_object(canvas: &mut Canvas, layout: &Layout, number: usize, object: &Object, look: &Look, light: [f32; 2]) {
    let size = layout.size;
    let scale = 96.0 / size as f32;
    let [columns, rows] = object.bounds(0.0, size);
    for y in rows {
        for x in columns.clone() {
            let at = (y * size + x) as usize;
            if usize::from(layout.owners[at]) != number + 1 {
                continue;
            }
            let (px, py) = (x as f32, y as f32);
            let (dx, dy) = (px - object.center[0], py - object.center[1]);
            let along = (dx * look.direction[0] + dy * look.direction[1]) * scale / look.grain[0];
            let across = (dy * look.direction[0] - dx * look.direction[1]) * scale / look.grain[1];
            let texture = look.texture.fractal(along, across, 4);

            let level = object.level(px, py);
            let towards = (dx * light[0] + dy * light[1]) / object.radius;
            let shade = (1.0 + look.gradient * towards) * (1.0 - 0.38 * level.powi(5));
            let shine = look.gloss
                * smoothstep(
                    0.55,
                    0.0,
                    (dx / object.radius - 0.45 * light[0]).hypot(dy / object.radius - 0.45 * light[1]),
                );
            let (colour, contrast) = match object.marker.pattern(object.class, px, py) {
                Some(second) => (look.marker[usize::from(second)], 0.4 * look.contrast),
                None => (
                    hsv(look.hue + 0.03 * texture, look.saturation, look.value),
                    look.contrast,
                ),
            };
            canvas[at] = colour.map(|v| v * shade * (1.0 + 1.4 * contrast * texture) + 0.6 * shine * shade);
        }
    }
}

/// A Gaussian blur of 0.6 pixels, borders repeated.
fn blur(canvas: Canvas, size: u32) -> Canvas {
    let weights = [-2.0_f32, -1.0, 0.0, 1.0, 2.0].map(|d| (-d * d / (2.0 * 0.6 * 0.6)).exp());
    let sum: f32 = weights.iter().sum();
    let weights = weights.map(|w| w / sum);
    let size = size as usize;
    let weigh =
        |taps: [[f32; 3]; 5]| -> [f32; 3] { std::array::from_fn(|c| (0..5).map(|k| weights[k] * taps[k][c]).sum()) };
    let moved = |at: usize, k: usize| (at + k).saturating_sub(2).min(size - 1);
    let mut across = Vec::with_capacity(canvas.len());
    for row in canvas.chunks_exact(size) {
        across.extend((0..size).map(|x| weigh(std::array::from_fn(|k| row[moved(x, k)]))));
    }
    let mut target = Vec::with_capacity(canvas.len());
    for y in 0..size {
        let rows: [&[[f32; 3]]; 5] = std::array::from_fn(|k| &across[moved(y, k) * size..][..size]);
        target.extend((0..size).map(|x| weigh(rows.map(|row| row[x]))));
    }
    target
}

/// Exposure of 0.8 to 1.1 and noise of 0.025, in 8 bits.
fn expose(canvas: &Canvas, size: u32, rng: &mut impl Rng) -> RgbImage {
    let exposure: f32 = rng.random_range(0.8..1.1);
    RgbImage::from_fn(size, size, |x, y| {
        Rgb(canvas[(y * size + x) as usize].map(|v| {
            let noise: f32 = StandardNormal.sample(rng);
            ((v * exposure + 0.025 * noise).clamp(0.0, 1.0) * 255.0 + 0.5) as u8
        }))
    })
}
