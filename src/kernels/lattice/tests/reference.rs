//! The permutohedral lattice by its definition (Adams et al. 2010, Sec. 3; scales of Krähenbühl and Koltun 2011), in
//! double precision, a map from coordinates to values: slow and plain.

use std::collections::BTreeMap;

type Point = Vec<i64>;

/// The vertices of the simplex around each pixel, with barycentric weights.
pub struct Reference {
    dimensions: usize,
    pixels: Vec<Vec<(Point, f64)>>,
}

impl Reference {
    /// Of features `[D, N]`.
    pub fn new(features: &[f32], d: usize) -> Reference {
        let n = features.len() / d;
        let pixel = |p: usize| -> Vec<f64> { (0..d).map(|i| f64::from(features[i * n + p])).collect() };
        Reference {
            dimensions: d,
            pixels: (0..n).map(|p| simplex(&elevate(&pixel(p)))).collect(),
        }
    }

    /// Values `[N]` → filtered `[N]`.
    pub fn filter(&self, values: &[f64]) -> Vec<f64> {
        let d = self.dimensions;
        let mut sums: BTreeMap<&Point, f64> = BTreeMap::new();
        for (pixel, value) in self.pixels.iter().zip(values) {
            for (point, weight) in pixel {
                *sums.entry(point).or_default() += weight * value;
            }
        }
        for axis in 0..=d {
            let at = |point: &Point, sign: i64| {
                let step = |i: usize| if i == axis { d as i64 } else { -1 };
                let there: Point = (0..=d).map(|i| point[i] + sign * step(i)).collect();
                sums.get(&there).copied().unwrap_or(0.0)
            };
            sums = sums
                .iter()
                .map(|(point, sum)| (*point, sum + 0.5 * (at(point, 1) + at(point, -1))))
                .collect();
        }
        let scale = 1.0 / (1.0 + 0.5f64.powi(d as i32));
        let slice = |pixel: &Vec<(Point, f64)>| {
            let sum: f64 = pixel.iter().map(|(point, weight)| weight * sums[point]).sum();
            scale * sum
        };
        self.pixels.iter().map(slice).collect()
    }
}

/// Onto the plane where coordinates sum to zero: basis vector k is (1, ..., 1, -k, 0, ...) with k ones, to unit length,
/// times the blur's deviation.
fn elevate(feature: &[f64]) -> Vec<f64> {
    let d = feature.len();
    let deviation = (2.0f64 / 3.0).sqrt() * (d as f64 + 1.0);
    let mut elevated = vec![0.0; d + 1];
    for (i, value) in feature.iter().enumerate() {
        let k = (i + 1) as f64;
        let scaled = deviation * value / (k * (k + 1.0)).sqrt();
        (0..=i).for_each(|j| elevated[j] += scaled);
        elevated[i + 1] -= k * scaled;
    }
    elevated
}

/// The simplex around a point: from the remainder-0 point below in every coordinate, coordinates are raised from the one
/// with the largest remainder on, which passes every vertex of the simplex in order.
fn simplex(elevated: &[f64]) -> Vec<(Point, f64)> {
    let size = elevated.len() as f64;
    // On the plane, floors sum to minus a whole number m of cells. Raising the m largest remainders by a cell each makes
    // a lattice point of it, and the point's offsets from there, sorted, fall within one cell.
    let mut base: Vec<f64> = elevated.iter().map(|e| (e / size).floor() * size).collect();
    let short = (-base.iter().sum::<f64>() / size).round() as usize;
    let mut order: Vec<usize> = (0..elevated.len()).collect();
    let key = |base: &[f64], i: usize| elevated[i] - base[i];
    order.sort_by(|a, b| key(&base, *b).total_cmp(&key(&base, *a)));
    order[..short].iter().for_each(|i| base[*i] += size);
    order.sort_by(|a, b| key(&base, *b).total_cmp(&key(&base, *a)));
    let offset: Vec<f64> = order.iter().map(|i| key(&base, *i)).collect();
    // Vertex r adds r everywhere and takes d + 1 from the r smallest offsets.
    let d = elevated.len() - 1;
    (0..=d)
        .map(|r| {
            let mut point: Point = base.iter().map(|b| *b as i64 + r as i64).collect();
            let taken = &order[d + 1 - r..];
            taken.iter().for_each(|i| point[*i] -= d as i64 + 1);
            let weight = match r {
                0 => 1.0 - (offset[0] - offset[d]) / size,
                _ => (offset[d - r] - offset[d + 1 - r]) / size,
            };
            (point, weight)
        })
        .collect()
}
