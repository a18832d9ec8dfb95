//! The backward pass of cross attention on the CPU, slab by slab of the logits.

use ndarray::{Array3, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::{matrix, split};
use crate::kernels::cpu::{exp, product};

/// Queries and keys whose logits are in memory at a time.
const SLAB: (usize, usize) = (512, 2048);
/// Keys, and channels of queries, that one thread takes from the slab.
const STRIP: usize = 128;

/// What the backward pass starts from.
pub struct Backward<'a> {
    /// `[B, D, N]`.
    pub query: ArrayView3<'a, f32>,
    /// `[B, D, M]`.
    pub key: ArrayView3<'a, f32>,
    /// `[B, V, M]`.
    pub value: ArrayView3<'a, f32>,
    /// What the forward pass gave, `[B, V, N]`.
    pub attended: ArrayView3<'a, f32>,
    /// What the forward pass gave, `[B, 2, N]`.
    pub statistics: ArrayView3<'a, f32>,
    /// Of the attended values, `[B, V, N]`.
    pub gradient: ArrayView3<'a, f32>,
}

/// The gradients of query, key and value.
pub fn backward(from: &Backward) -> [Vec<f32>; 3] {
    let (b, _, n) = from.query.dim();
    let m = from.key.dim().2;
    let mut d_query = Array3::zeros(from.query.dim());
    let mut d_key = Array3::zeros(from.key.dim());
    let mut d_value = Array3::zeros(from.value.dim());
    let mut slab = vec![0.0; SLAB.0.min(n) * SLAB.1.min(m)];
    for i in 0..b {
        for n0 in (0..n).step_by(SLAB.0) {
            let n1 = n.min(n0 + SLAB.0);
            let block = Block::new(
                from.query.slice(s![i, .., n0..n1]),
                from.attended.slice(s![i, .., n0..n1]),
                from.gradient.slice(s![i, .., n0..n1]),
                from.statistics.slice(s![i, .., n0..n1]),
            );
            for m0 in (0..m).step_by(SLAB.1) {
                let m1 = m.min(m0 + SLAB.1);
                let keys = s![i, .., m0..m1];
                let slab = &mut slab[..(n1 - n0) * (m1 - m0)];
                let key = from.key.slice(keys);
                block.add_to_keys(
                    key,
                    from.value.slice(keys),
                    slab,
                    d_key.slice_mut(keys),
                    d_value.slice_mut(keys),
                );
                block.add_to_queries(key, slab, d_query.slice_mut(s![i, .., n0..n1]));
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

    /// Leaves the gradient of the logits `[keys, queries]` in `slab`, adds to those of its keys and values.
    fn add_to_keys(
        &self,
        key: ArrayView2<f32>,
        value: ArrayView2<f32>,
        slab: &mut [f32],
        d_key: ArrayViewMut2<f32>,
        d_value: ArrayViewMut2<f32>,
    ) {
        let strips = slab
            .par_chunks_mut(STRIP * self.query.ncols())
            .zip(split(d_key, Axis(1), STRIP))
            .zip(split(d_value, Axis(1), STRIP));
        strips.enumerate().for_each(|(strip, ((tile, d_key), d_value))| {
            let first = strip * STRIP;
            let keys = s![.., first..first + d_key.ncols()];
            self.backward(key.slice(keys), value.slice(keys), tile, d_key, d_value);
        });
    }

    /// Adds to the gradient of the queries, from the gradient of the logits `[keys, queries]` in `slab`.
    fn add_to_queries(&self, key: ArrayView2<f32>, slab: &mut [f32], d_query: ArrayViewMut2<f32>) {
        let slab = matrix(slab, self.query.ncols());
        let strips = split(d_query, Axis(0), STRIP).into_par_iter().enumerate();
        strips.for_each(|(strip, d_query)| {
            let first = strip * STRIP;
            let key = key.slice(s![first..first + d_query.nrows(), ..]);
            product(key, slab.view(), 1.0, d_query);
        });
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
