//! From features to the simplices of the lattice (Adams et al. 2010, Sec. 3.1).

use super::Corner;
use super::points::{Key, Points};
use crate::kernels::error::Error;
use crate::kernels::lattice::{MOST_DIMENSIONS, scales};

/// Vertices of a simplex at most.
const MAX_VERTICES: usize = MOST_DIMENSIONS + 1;
/// Largest lattice coordinate whose position within its simplex single precision still tells.
const MAX_COORDINATE: f64 = (1 << 20) as f64;
/// Pixels that are embedded side by side.
const LANES: usize = 4;

/// Features on their way to the lattice.
pub struct Embedding<'a> {
    features: &'a [f32],
    dimensions: usize,
    pixels: usize,
    /// See [`scales`].
    scale: [f32; MOST_DIMENSIONS],
    /// Bounds of the elevated coordinates.
    bounds: [(f64, f64); MOST_DIMENSIONS],
}

/// How coordinates become a mixed-radix number: sum over i of (coordinate_i - low_i) stride_i. The last coordinate is
/// left out, since all sum to zero. The number is linear in the coordinates, so that a step along an axis adds a constant.
pub struct Radix<K> {
    low: [i32; MOST_DIMENSIONS],
    stride: [K; MOST_DIMENSIONS],
    /// The sum of all strides: 1 more in every coordinate.
    all: K,
    /// d + 1 more in one coordinate.
    wrap: [K; MAX_VERTICES],
}

impl<K: Key> Radix<K> {
    /// To a point's neighbour along `axis`: d more in that coordinate, 1 less in the others.
    pub fn step(&self, axis: usize) -> K {
        self.wrap[axis].sub(self.all)
    }
}

impl<'a> Embedding<'a> {
    /// Looks at `features` `[D, N]`.
    ///
    /// # Errors
    /// On NaN and infinities, and on features too large for single precision.
    pub fn new(features: &'a [f32], dimensions: usize) -> Result<Self, Error> {
        let pixels = features.len() / dimensions;
        let mut scale = [0.0; MOST_DIMENSIONS];
        let mut range = [(0.0, 0.0); MOST_DIMENSIONS];
        for ((i, plane), factor) in features.chunks_exact(pixels).enumerate().zip(scales(dimensions)) {
            scale[i] = factor as f32;
            let (low, high) = extent(plane);
            if !low.is_finite() || !high.is_finite() {
                return Err(Error::NotFinite { feature: i });
            }
            range[i] = (factor * f64::from(low), factor * f64::from(high));
        }
        let mut bounds = [(0.0, 0.0); MOST_DIMENSIONS];
        for j in 0..=dimensions {
            // Coordinate j is the sum of the scaled features from j on, less j times feature j - 1.
            let (mut low, mut high) = (0.0, 0.0);
            for (a, b) in &range[j..dimensions] {
                (low, high) = (low + a, high + b);
            }
            if j > 0 {
                let (a, b) = range[j - 1];
                (low, high) = (low - j as f64 * b, high - j as f64 * a);
            }
            if low <= -MAX_COORDINATE || high >= MAX_COORDINATE {
                return Err(Error::TooLarge);
            }
            if j < dimensions {
                bounds[j] = (low, high);
            }
        }
        Ok(Self {
            features,
            dimensions,
            pixels,
            scale,
            bounds,
        })
    }

    /// `None` where keys of type K cannot number all lattice points and their neighbours.
    pub fn radix<K: Key>(&self) -> Option<Radix<K>> {
        let d = self.dimensions;
        // A vertex is at most 2 (d + 1) away from its pixel, its neighbours d further; the rest is for rounding.
        let margin = 4 * (d as i32 + 1);
        let mut radix = Radix {
            low: [0; MOST_DIMENSIONS],
            stride: [K::default(); MOST_DIMENSIONS],
            all: K::default(),
            wrap: [K::default(); MAX_VERTICES],
        };
        let mut stride = 1u128;
        for (i, &(low, high)) in self.bounds[..d].iter().enumerate() {
            radix.low[i] = low.floor() as i32 - margin;
            let extent = high.ceil() as i32 + margin - radix.low[i] + 1;
            radix.stride[i] = K::from_u128(stride)?;
            radix.all = radix.all.add(radix.stride[i]);
            radix.wrap[i] = radix.stride[i].mul(K::from_i32(d as i32 + 1));
            stride = stride.checked_mul(extent as u128)?;
        }
        K::from_u128(stride)?;
        Some(radix)
    }

    /// Writes the d + 1 corners of the pixels from `first` on, numbering lattice points by `points`.
    pub fn embed<K: Key>(&self, first: usize, corners: &mut [Corner], radix: &Radix<K>, points: &mut Points<K>) {
        // The common dimensions as constants, for their loops to unroll.
        match self.dimensions {
            2 => self.embed_in(2, first, corners, radix, points),
            5 => self.embed_in(5, first, corners, radix, points),
            d => self.embed_in(d, first, corners, radix, points),
        }
    }

    #[inline(always)]
    fn embed_in<K: Key>(
        &self,
        d: usize,
        first: usize,
        corners: &mut [Corner],
        radix: &Radix<K>,
        points: &mut Points<K>,
    ) {
        let mut before = [(K::default(), 0); MAX_VERTICES];
        for (block, corners) in corners.chunks_mut(LANES * (d + 1)).enumerate() {
            let simplices = self.locate(d, first + block * LANES);
            for (lane, corners) in corners.chunks_exact_mut(d + 1).enumerate() {
                // The position within the simplex, by rank, and what wraps around when the rank's turn comes.
                let mut sorted = [0.0f32; MAX_VERTICES];
                let mut wraps = [K::default(); MAX_VERTICES];
                let mut key = K::default();
                for i in 0..=d {
                    let rank = simplices.rank[i][lane] as usize & 31;
                    if rank < MAX_VERTICES {
                        sorted[rank] = simplices.position[i][lane];
                        wraps[rank] = radix.wrap[i];
                    }
                }
                for i in 0..d {
                    let coordinate = simplices.origin[i][lane] as i32 - radix.low[i];
                    key = key.add(radix.stride[i].mul(K::from_i32(coordinate)));
                }
                // The vertex of remainder r has r more in every coordinate, less d + 1 in those of a rank above d - r.
                for (r, corner) in corners.iter_mut().enumerate() {
                    // The next pixel is often in the same simplex, or in one that shares vertices.
                    if before[r].1 == 0 || before[r].0 != key {
                        before[r] = (key, points.insert(key));
                    }
                    let next = if r == 0 { sorted[0] - 1.0 } else { sorted[d + 1 - r] };
                    *corner = Corner {
                        index: before[r].1,
                        weight: sorted[d - r] - next,
                    };
                    key = key.add(radix.all).sub(wraps[d - r]);
                }
            }
        }
    }

    /// The simplices of the pixels from `first` on; the last pixel again where there are no more.
    #[inline(always)]
    fn locate(&self, d: usize, first: usize) -> Simplices {
        let elevated = self.elevate(d, first);
        // The nearest point of remainder 0, not yet on the plane where coordinates sum to zero.
        let (up, down) = ((d + 1) as f32, 1.0 / (d + 1) as f32);
        let mut origin = [[0.0f32; LANES]; MAX_VERTICES];
        let mut position = [[0.0f32; LANES]; MAX_VERTICES];
        let mut excess = [0.0f32; LANES];
        for i in 0..=d {
            for lane in 0..LANES {
                let rounded = round(elevated[i][lane] * down);
                origin[i][lane] = rounded * up;
                position[i][lane] = elevated[i][lane] - origin[i][lane];
                excess[lane] += rounded;
            }
        }
        let rank = rank(d, &position);
        let mut ranks = [[0i32; LANES]; MAX_VERTICES];
        for i in 0..=d {
            for lane in 0..LANES {
                let moved = rank[i][lane] + excess[lane];
                let shift = if moved < 0.0 {
                    up
                } else if moved >= up {
                    -up
                } else {
                    0.0
                };
                ranks[i][lane] = (moved + shift) as i32;
                origin[i][lane] += shift;
                position[i][lane] = (elevated[i][lane] - origin[i][lane]) * down;
            }
        }
        Simplices {
            origin,
            position,
            rank: ranks,
        }
    }

    /// The pixels from `first` on, on the plane where coordinates sum to zero.
    #[inline(always)]
    fn elevate(&self, d: usize, first: usize) -> [[f32; LANES]; MAX_VERTICES] {
        let mut elevated = [[0.0f32; LANES]; MAX_VERTICES];
        let mut sum = [0.0f32; LANES];
        for j in (1..=d).rev() {
            let plane = &self.features[(j - 1) * self.pixels..][..self.pixels];
            let mut features = [0.0; LANES];
            match plane.get(first..first + LANES) {
                Some(there) => features.copy_from_slice(there),
                None => {
                    for (lane, feature) in features.iter_mut().enumerate() {
                        *feature = plane[(first + lane).min(self.pixels - 1)];
                    }
                }
            }
            for lane in 0..LANES {
                let scaled = features[lane] * self.scale[j - 1];
                elevated[j][lane] = sum[lane] - j as f32 * scaled;
                sum[lane] += scaled;
            }
        }
        elevated[0] = sum;
        elevated
    }
}

/// Ranks by falling position; ties by falling index.
#[inline(always)]
fn rank(d: usize, position: &[[f32; LANES]; MAX_VERTICES]) -> [[f32; LANES]; MAX_VERTICES] {
    let mut rank = [[0.0f32; LANES]; MAX_VERTICES];
    for i in 0..d {
        for j in i + 1..=d {
            for lane in 0..LANES {
                let less = if position[i][lane] < position[j][lane] {
                    1.0
                } else {
                    0.0
                };
                rank[i][lane] += less;
                rank[j][lane] += 1.0 - less;
            }
        }
    }
    rank
}

/// Where pixels lie, coordinate by coordinate.
struct Simplices {
    /// The vertex of remainder 0.
    origin: [[f32; LANES]; MAX_VERTICES],
    /// From there to the pixel, divided by d + 1.
    position: [[f32; LANES]; MAX_VERTICES],
    /// A coordinate's place among the positions, 0 for the largest.
    rank: [[i32; LANES]; MAX_VERTICES],
}

/// The smallest and the largest of `values`; NaN or infinite where one of them is.
fn extent(values: &[f32]) -> (f32, f32) {
    let (mut low, mut high, mut nan) = ([f32::MAX; 8], [f32::MIN; 8], [0.0f32; 8]);
    let mut look = |block: &[f32]| {
        for (lane, &value) in block.iter().enumerate().take(8) {
            low[lane] = if value < low[lane] { value } else { low[lane] };
            high[lane] = if value > high[lane] { value } else { high[lane] };
            nan[lane] += value * 0.0;
        }
    };
    let (blocks, rest) = values.as_chunks::<8>();
    blocks.iter().for_each(|block| look(block));
    look(rest);
    let nan: f32 = nan.iter().sum();
    let low = low.into_iter().fold(f32::MAX, f32::min);
    let high = high.into_iter().fold(f32::MIN, f32::max);
    (low + nan, high + nan)
}

/// To the nearest integer, for |x| < 2^22, without a call.
#[inline(always)]
fn round(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT) - SHIFT
}
