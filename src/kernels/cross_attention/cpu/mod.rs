//! Cross attention on the CPU: the twin of the shaders `cross_attention*.wgsl`.

mod backward;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use ndarray::{Array3, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::{CrossAttention, CrossAttentionBackward, Sizes};
use crate::kernels::cpu::{exp, product, tensor};
use backward::{Backward, backward};

/// Queries and keys of one tile of the forward pass.
const TILE: (usize, usize) = (256, 512);

impl CrossAttention for Flex {
    fn cross_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [query, key, value] = [query, key, value].map(|x| x.to_contiguous());
        let sizes = Sizes::of(query.layout().shape(), value.layout().shape());
        let (attended, statistics) = forward(query.storage(), key.storage(), value.storage(), sizes);
        let (b, n) = (sizes.batch, sizes.queries);
        (tensor(attended, [b, sizes.channels, n]), tensor(statistics, [b, 2, n]))
    }
}

impl CrossAttentionBackward for Flex {
    fn cross_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        attended: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [query, key, value, attended, statistics, gradient] =
            [query, key, value, attended, statistics, gradient].map(|x| x.to_contiguous());
        let sizes = Sizes::of(query.layout().shape(), value.layout().shape());
        let Sizes {
            batch: b,
            depth: d,
            channels: v,
            queries: n,
            keys: m,
        } = sizes;
        let pass = Backward {
            query: view(query.storage(), [b, d, n]),
            key: view(key.storage(), [b, d, m]),
            value: view(value.storage(), [b, v, m]),
            attended: view(attended.storage(), [b, v, n]),
            statistics: view(statistics.storage(), [b, 2, n]),
            gradient: view(gradient.storage(), [b, v, n]),
        };
        let [d_query, d_key, d_value] = backward(&pass);
        (
            tensor(d_query, [b, d, n]),
            tensor(d_key, [b, d, m]),
            tensor(d_value, [b, v, m]),
        )
    }
}

/// Attended values `[B, V, N]`, and `[B, 2, N]`: each query's largest logit, and its sum of exponentials beyond that.
fn forward(query: &[f32], key: &[f32], value: &[f32], sizes: Sizes) -> (Vec<f32>, Vec<f32>) {
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
    for (i, (out, statistics)) in out.outer_iter_mut().zip(statistics.outer_iter_mut()).enumerate() {
        let [out, statistics] = [out, statistics].map(|whole| split(whole, Axis(1), TILE.0));
        for (block, (out, statistics)) in out.into_iter().zip(statistics).enumerate() {
            tasks.push((i, block * TILE.0, out, statistics));
        }
    }
    tasks.into_par_iter().for_each(|(i, first, out, statistics)| {
        let query = query.slice(s![i, .., first..first + out.ncols()]);
        attend(
            query,
            key.slice(s![i, .., ..]),
            value.slice(s![i, .., ..]),
            out,
            statistics,
        );
    });
    (out.into_raw_vec_and_offset().0, statistics.into_raw_vec_and_offset().0)
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
    // Finite, so that logits of -inf weigh nothing, and not NaN, until there is a larger one.
    let (mut largest, mut sums) = (vec![f32::MIN; n], vec![0.0; n]);
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

#[expect(clippy::expect_used, reason = "a caller's mistake, not a user's")]
fn view(values: &[f32], shape: [usize; 3]) -> ArrayView3<'_, f32> {
    ArrayView3::from_shape(shape, values).expect("as many values as the shape has")
}

/// Values as rows of `columns`.
#[expect(clippy::expect_used, reason = "a caller's mistake, not a user's")]
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
