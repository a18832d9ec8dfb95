//! One object: the outline of its body and the pattern of its marker.

use std::f32::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::noise::floor;

/// How finely the outline is tabulated over the circle.
const OUTLINE: usize = 256;

/// The geometry of an object in pixels.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// Class index.
    pub class: usize,
    pub center: [f32; 2],
    pub radius: f32,
    stretch: [f32; 2],
    /// Distance of the outline from the centre, by direction, in units of the radius.
    outline: [f32; OUTLINE + 1],
    pub marker: Marker,
}

/// A round patch with the class's pattern.
#[derive(Clone, Debug)]
pub(super) struct Marker {
    center: [f32; 2],
    pub radius: f32,
    turn: [f32; 2],
}

impl Object {
    /// A body of radius 15 to 28 (of 96) and aspect 0.7 to 1.4 whose outline has Fourier terms of order 2 to 5, with a
    /// marker of 0.43 to 0.57 of its radius off its centre.
    pub fn random(class: usize, size: u32, rng: &mut impl Rng) -> Self {
        let side = size as f32;
        let radius = rng.random_range(15.0..28.0) * side / 96.0;
        let aspect: f32 = rng.random_range(0.7..1.4);
        let terms = [2.0_f32, 3.0, 4.0, 5.0].map(|order| {
            let normal: f32 = StandardNormal.sample(rng);
            (
                order,
                0.28 / order * normal.clamp(-1.6, 1.6),
                rng.random_range(0.0..TAU),
            )
        });
        let outline = std::array::from_fn(|i| {
            let angle = i as f32 / OUTLINE as f32 * TAU;
            let waves: f32 = terms
                .iter()
                .map(|(m, amplitude, phase)| amplitude * (m * angle + phase).cos())
                .sum();
            (1.0 + waves).max(0.4)
        });
        let center = [rng.random_range(0.17..0.83) * side, rng.random_range(0.17..0.83) * side];
        let mut object = Self {
            class,
            center,
            radius,
            stretch: [aspect.sqrt(), 1.0 / aspect.sqrt()],
            outline,
            marker: Marker {
                center,
                radius: 0.0,
                turn: [1.0, 0.0],
            },
        };
        object.marker = object.random_marker(rng);
        object
    }

    fn random_marker(&self, rng: &mut impl Rng) -> Marker {
        let turn: f32 = rng.random_range(-0.5..0.5);
        let direction = rng.random_range(0.0..TAU);
        let offset = rng.random_range(0.12..0.42) * self.reach(direction) * self.radius;
        let (sin, cos) = direction.sin_cos();
        Marker {
            center: [
                self.center[0] + offset * cos * self.stretch[0],
                self.center[1] + offset * sin * self.stretch[1],
            ],
            radius: rng.random_range(0.43..0.57) * self.radius,
            turn: [turn.cos(), turn.sin()],
        }
    }

    fn reach(&self, angle: f32) -> f32 {
        let turns = angle / TAU;
        let at = (turns - floor(turns) as f32) * OUTLINE as f32;
        let low = (at as usize).min(OUTLINE - 1);
        let part = at - low as f32;
        self.outline[low] * (1.0 - part) + self.outline[low + 1] * part
    }

    /// Where a point is between the centre (0) and the outline (1) of the body; more than 1 is outside.
    pub fn level(&self, x: f32, y: f32) -> f32 {
        let dx = (x - self.center[0]) / self.stretch[0] / self.radius;
        let dy = (y - self.center[1]) / self.stretch[1] / self.radius;
        let distance = length(dx, dy);
        // No outline reaches that far, and most pixels are out there.
        if distance > 2.2 {
            return distance;
        }
        distance / self.reach(dy.atan2(dx))
    }

    /// The rectangle of pixels, ends excluded, that the body and `margin` radii around it may touch.
    pub fn bounds(&self, margin: f32, size: u32) -> [std::ops::Range<u32>; 2] {
        let widest = self.outline.iter().fold(0.0_f32, |a, &b| a.max(b));
        std::array::from_fn(|axis| {
            let half = (widest * self.stretch[axis] + margin) * self.radius;
            let clamp = |v: f32| v.clamp(0.0, size as f32) as u32;
            clamp(self.center[axis] - half)..clamp(self.center[axis] + half + 2.0)
        })
    }
}

impl Marker {
    /// Whether the point has the pattern's second colour; `None` outside of the marker.
    pub fn pattern(&self, class: usize, x: f32, y: f32) -> Option<bool> {
        let (dx, dy) = ((x - self.center[0]) / self.radius, (y - self.center[1]) / self.radius);
        let [cos, sin] = self.turn;
        let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
        let distance = length(u, v);
        (distance < 1.0).then(|| match class {
            0 => odd(u / 0.4),
            1 => odd(u / 0.5) != odd(v / 0.5),
            2 => odd(distance / 0.34),
            3 => u.abs().min(v.abs()) < 0.19 && distance < 0.95,
            4 => in_star(u, v),
            _ => {
                let cell = |t: f32| (t / 0.62 + 0.5).rem_euclid(1.0) - 0.5;
                length(cell(u), cell(v)) < 0.33
            }
        })
    }
}

/// Without the care for overflow that makes `hypot` slow.
fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

fn odd(x: f32) -> bool {
    floor(x) & 1 == 1
}

/// Whether a point is in a star of five points with outer radius 0.95 and inner radius 0.4.
fn in_star(u: f32, v: f32) -> bool {
    let fifth = TAU / 5.0;
    let angle = u.atan2(-v).rem_euclid(fifth);
    let (sin, cos) = angle.min(fifth - angle).sin_cos();
    let distance = length(u, v);
    let (px, py) = (distance * cos, distance * sin);
    let (qx, qy) = (0.4 * (fifth / 2.0).cos(), 0.4 * (fifth / 2.0).sin());
    // The point is inside where it lies on the centre's side of the edge from the tip to the notch.
    (qx - 0.95) * py - qy * (px - 0.95) > 0.0
}
