//! Coherent noise and the small colour mathematics that textures are made of.

use rand::{Rng, RngExt};

/// The slopes that gradient noise has at whole coordinates.
const SLOPES: [[f32; 2]; 8] = [
    [1.0, 1.0],
    [1.0, -1.0],
    [-1.0, 1.0],
    [-1.0, -1.0],
    [1.4, 0.0],
    [-1.4, 0.0],
    [0.0, 1.4],
    [0.0, -1.4],
];

/// Gradient noise on the plane, one independent field for each seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise(u32);

impl Noise {
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(rng.random())
    }

    /// White noise in [-1, 1] at whole coordinates.
    pub fn grain(&self, x: i32, y: i32) -> f32 {
        (self.hash(x, y) >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Perlin's gradient noise, about [-1, 1], zero at whole coordinates.
    pub fn smooth(&self, x: f32, y: f32) -> f32 {
        let (column, row) = (floor(x), floor(y));
        let (dx, dy) = (x - column as f32, y - row as f32);
        let corner = |i: i32, j: i32| {
            let (a, b) = (dx - i as f32, dy - j as f32);
            let [along, across] = SLOPES[(self.hash(column + i, row + j) >> 29) as usize];
            along * a + across * b
        };
        let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (u, v) = (fade(dx), fade(dy));
        mix(
            mix(corner(0, 0), corner(1, 0), u),
            mix(corner(0, 1), corner(1, 1), u),
            v,
        )
    }

    /// Fractal noise, about [-1, 1]: each octave is twice as fine and half as strong as the one before.
    pub fn fractal(&self, x: f32, y: f32, octaves: u32) -> f32 {
        let (mut x, mut y, mut sum, mut weight) = (x, y, 0.0, 1.0);
        for octave in 0..octaves {
            sum += weight * Self(self.0.wrapping_add(octave)).smooth(x, y);
            // Turning each octave hides the common grid.
            (x, y) = (1.6 * x + 1.2 * y + 3.7, 1.6 * y - 1.2 * x + 9.1);
            weight *= 0.5;
        }
        sum / (2.0 - 2.0 * weight) * 1.4
    }

    fn hash(&self, x: i32, y: i32) -> u32 {
        let mut h = self.0 ^ (x as u32).wrapping_mul(0x85eb_ca6b) ^ (y as u32).wrapping_mul(0xc2b2_ae35);
        h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
        h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
        h ^ (h >> 15)
    }
}

/// Rounds down; the method of `f32` is a function call on processors without SSE 4.1, and this is the hottest spot.
pub(super) fn floor(x: f32) -> i32 {
    let truncated = x as i32;
    truncated - i32::from(truncated as f32 > x)
}

/// Linear interpolation from `a` to `b`.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Linear interpolation between colours.
pub(super) fn blend(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    std::array::from_fn(|c| mix(a[c], b[c], t))
}

/// A step from 0 at `low` to 1 at `high` with soft ends.
pub(super) fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// HSV to RGB; the hue counts full circles and wraps.
pub(super) fn hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    [5.0, 3.0, 1.0].map(|lag| {
        let turns = lag / 6.0 + hue;
        let k = 6.0 * (turns - floor(turns) as f32);
        value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    })
}
