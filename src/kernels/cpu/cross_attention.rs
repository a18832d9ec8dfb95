//! CPU twin of the shaders `cross_attention*.wgsl`.

use ndarray::{Array3, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::mean_field::exp;
use super::product::product;

/// Queries and keys of one tile of the forward pass.
const TILE: (usize, usize) = (256, 512);
/// Queries and keys whose logits the backward pass has in memory at a time.
const SLAB: (usize, usize) = (512, 2048);
/// Keys, and channels of queries, that one thread takes from the slab.
const STRIP: usize = 128;

/// The shapes of query `[B, D, N]`, key `[B, D, M]` and value `[B, V, M]`.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// B.
    pub batch: usize,
    /// D.
    pub depth: usize,
    /// V.
    pub channels: usize,
    /// N.
    pub queries: usize,
    /// M.
    pub keys: usize,
}

/// Attended values `[B, V, N]`, and `[B, 2, N]`: each query's largest logit, and its sum of exponentials beyond that.
pub fn forward(query: &[f32], key: &[f32], value: &[f32], sizes: Sizes) -> (Vec<f32>, Vec<f32>) {
    let Sizes {
        batch: b,
        depth: d,
        channels: v,
        queries: n,
        keys: m,
    } = sizes;
    let (query, key) = (view(query, [b, d, n]), view(key, [b, d, m]));
    let value = view(value, [b, v, m]);
    let mut out = Array3::zeros((b, v, n));
    let mut statistics = Array3::zeros((b, 2, n));
    let mut tasks = Vec::new();
    for (i, (out, statistics)) in out
        .outer_iter_mut()
        .zip(statistics.outer_iter_mut())
        .enumerate()
    {
        let [out, statistics] = [out, statistics].map(|whole| split(whole, Axis(1), TILE.0));
        for (block, (out, statistics)) in out.into_iter().zip(statistics).enumerate() {
            tasks.push((i, block * TILE.0, out, statistics));
        }
    }
    tasks
        .into_par_iter()
        .for_each(|(i, first, out, statistics)| {
            let query = query.slice(s![i, .., first..first + out.ncols()]);
            attend(
                query,
                key.slice(s![i, .., ..]),
                value.slice(s![i, .., ..]),
                out,
                statistics,
            );
        });
    (
        out.into_raw_vec_and_offset().0,
        statistics.into_raw_vec_and_offset().0,
    )
}

/// One block of queries, by online softmax over tiles of keys.
fn attend(
    query: ArrayView2<f32>,
    key: ArrayView2<f32>,
    value: ArrayView2<f32>,
    mut out: ArrayViewMut2<f32>,
    mut statistics: ArrayViewMut2<f32>,
) {
    let n = query.ncols();
    let mut slab = vec![0.0; n * TILE.1.min(key.ncols())];
    let mut attended = vec![0.0; n * value.nrows()];
    let (mut largest, mut sums) = (vec![f32::NEG_INFINITY; n], vec![0.0; n]);
    let parts = key.axis_chunks_iter(Axis(1), TILE.1);
    for (key, value) in parts.zip(value.axis_chunks_iter(Axis(1), TILE.1)) {
        let tile = &mut slab[..n * key.ncols()];
        product(key.t(), query, 0.0, matrix(tile, n));
        let mut scale = largest.clone();
        for row in tile.chunks_exact(n) {
            for (largest, logit) in largest.iter_mut().zip(row) {
                *largest = if logit > largest { *logit } else { *largest };
            }
        }
        for ((scale, sum), largest) in scale.iter_mut().zip(&mut sums).zip(&largest) {
            *scale = exp(*scale - largest);
            *sum *= *scale;
        }
        for row in attended.chunks_exact_mut(n) {
            row.iter_mut().zip(&scale).for_each(|(x, s)| *x *= s);
        }
        for row in tile.chunks_exact_mut(n) {
            for ((x, sum), largest) in row.iter_mut().zip(&mut sums).zip(&largest) {
                *x = exp(*x - largest);
                *sum += *x;
            }
        }
        let weights = matrix(tile, n);
        product(value, weights.view(), 1.0, matrix(&mut attended, n));
    }
    for (mut out, row) in out.rows_mut().into_iter().zip(attended.chunks_exact(n)) {
        for ((out, x), sum) in out.iter_mut().zip(row).zip(&sums) {
            *out = x / sum;
        }
    }
    for (mut to, row) in statistics.rows_mut().into_iter().zip([&largest, &sums]) {
        to.iter_mut().zip(row).for_each(|(to, x)| *to = *x);
    }
}

/// What the backward pass starts from.
pub struct Backward<'a> {
    /// `[B, D, N]`.
    pub query: &'a [f32],
    /// `[B, D, M]`.
    pub key: &'a [f32],
    /// `[B, V, M]`.
    pub value: &'a [f32],
    /// What [`forward`] gave, `[B, V, N]`.
    pub attended: &'a [f32],
    /// What [`forward`] gave, `[B, 2, N]`.
    pub statistics: &'a [f32],
    /// Of the attended values, `[B, V, N]`.
    pub gradient: &'a [f32],
}

/// The gradients of query, key and value.
pub fn backward(from: &Backward, sizes: Sizes) -> [Vec<f32>; 3] {
    let Sizes {
        batch: b,
        depth: d,
        channels: v,
        queries: n,
        keys: m,
    } = sizes;
    let (query, key) = (view(from.query, [b, d, n]), view(from.key, [b, d, m]));
    let value = view(from.value, [b, v, m]);
    let (attended, gradient) = (
        view(from.attended, [b, v, n]),
        view(from.gradient, [b, v, n]),
    );
    let statistics = view(from.statistics, [b, 2, n]);
    let mut d_query = Array3::zeros((b, d, n));
    let mut d_key = Array3::zeros((b, d, m));
    let mut d_value = Array3::zeros((b, v, m));
    let mut slab = vec![0.0; SLAB.0.min(n) * SLAB.1.min(m)];
    for i in 0..b {
        for n0 in (0..n).step_by(SLAB.0) {
            let n1 = n.min(n0 + SLAB.0);
            let block = Block::new(
                query.slice(s![i, .., n0..n1]),
                attended.slice(s![i, .., n0..n1]),
                gradient.slice(s![i, .., n0..n1]),
                statistics.slice(s![i, .., n0..n1]),
            );
            for m0 in (0..m).step_by(SLAB.1) {
                let m1 = m.min(m0 + SLAB.1);
                let slab = &mut slab[..(n1 - n0) * (m1 - m0)];
                let key = key.slice(s![i, .., m0..m1]);
                let strips = slab
                    .par_chunks_mut(STRIP * (n1 - n0))
                    .zip(split(d_key.slice_mut(s![i, .., m0..m1]), Axis(1), STRIP))
                    .zip(split(d_value.slice_mut(s![i, .., m0..m1]), Axis(1), STRIP));
                strips
                    .enumerate()
                    .for_each(|(strip, ((tile, d_key), d_value))| {
                        let first = strip * STRIP;
                        let last = first + d_key.ncols();
                        let key = key.slice(s![.., first..last]);
                        let value = value.slice(s![i, .., m0 + first..m0 + last]);
                        block.backward(key, value, tile, d_key, d_value);
                    });
                let slab = matrix(slab, n1 - n0);
                let strips = split(d_query.slice_mut(s![i, .., n0..n1]), Axis(0), STRIP);
                let strips = strips.into_par_iter().enumerate();
                strips.for_each(|(strip, d_query)| {
                    let first = strip * STRIP;
                    let key = key.slice(s![first..first + d_query.nrows(), ..]);
                    product(key, slab.view(), 1.0, d_query);
                });
            }
        }
    }
    [d_query, d_key, d_value].map(|gradient| gradient.into_raw_vec_and_offset().0)
}

/// A block of queries in the backward pass.
struct Block<'a> {
    query: ArrayView2<'a, f32>,
    gradient: ArrayView2<'a, f32>,
    largest: Vec<f32>,
    /// One by the sum of exponentials.
    normaliser: Vec<f32>,
    /// The sum over channels of the output times its gradient.
    delta: Vec<f32>,
}

impl<'a> Block<'a> {
    fn new(
        query: ArrayView2<'a, f32>,
        attended: ArrayView2<f32>,
        gradient: ArrayView2<'a, f32>,
        statistics: ArrayView2<f32>,
    ) -> Block<'a> {
        let mut delta = vec![0.0; query.ncols()];
        for (attended, gradient) in attended.rows().into_iter().zip(gradient.rows()) {
            for ((delta, a), g) in delta.iter_mut().zip(attended).zip(gradient) {
                *delta += a * g;
            }
        }
        Block {
            query,
            gradient,
            largest: statistics.row(0).to_vec(),
            normaliser: statistics.row(1).iter().map(|sum| 1.0 / sum).collect(),
            delta,
        }
    }

    /// Leaves the gradient of the logits `[keys, queries]` in `tile`, adds to those of the keys and values.
    fn backward(
        &self,
        key: ArrayView2<f32>,
        value: ArrayView2<f32>,
        tile: &mut [f32],
        d_key: ArrayViewMut2<f32>,
        d_value: ArrayViewMut2<f32>,
    ) {
        let n = self.query.ncols();
        product(key.t(), self.query, 0.0, matrix(tile, n));
        for row in tile.chunks_exact_mut(n) {
            for ((x, largest), factor) in row.iter_mut().zip(&self.largest).zip(&self.normaliser) {
                *x = exp(*x - largest) * factor;
            }
        }
        product(self.gradient, matrix(tile, n).t(), 1.0, d_value);
        let mut slope = vec![0.0; tile.len()];
        product(value.t(), self.gradient, 0.0, matrix(&mut slope, n));
        for (row, slope) in tile.chunks_exact_mut(n).zip(slope.chunks_exact(n)) {
            for ((x, slope), delta) in row.iter_mut().zip(slope).zip(&self.delta) {
                *x *= slope - delta;
            }
        }
        product(self.query, matrix(tile, n).t(), 1.0, d_key);
    }
}

fn view(values: &[f32], shape: [usize; 3]) -> ArrayView3<'_, f32> {
    ArrayView3::from_shape(shape, values).expect("as many values as the shape has")
}

/// Values as rows of `columns`.
fn matrix(values: &mut [f32], columns: usize) -> ArrayViewMut2<'_, f32> {
    let shape = (values.len() / columns, columns);
    ArrayViewMut2::from_shape(shape, values).expect("whole rows")
}

/// Pieces of `size` along an axis, the last one shorter.
fn split(whole: ArrayViewMut2<f32>, axis: Axis, size: usize) -> Vec<ArrayViewMut2<f32>> {
    let mut pieces = Vec::new();
    let mut rest = whole;
    while rest.len_of(axis) > size {
        let (piece, after) = rest.split_at(axis, size);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}
