//! Pointwise convolution on the CPU: a product of matrices for every image, and bias and clamp while its result is still in
//! the cache.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use ndarray::{Array2, ArrayView2, ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis, s};
use pulp::Arch;
use rayon::prelude::*;

use super::{PointwiseConv, PointwiseConvBackward};
use crate::kernels::convolution::Pass;
use crate::kernels::cpu::{product, tensor};

/// Entries of a result that one product computes, about: few enough to stay in a core's cache.
const TILE: usize = 1 << 17;
/// Parts that the kernel's gradient is summed in, on any number of threads.
const PARTS: usize = 4;

impl PointwiseConv for Flex {
    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        let [input, kernel, bias] = [input, kernel, bias].map(|x| x.to_contiguous());
        let [b, c, h, w] = input.layout().shape().dims();
        let [o, ..] = kernel.layout().shape().dims::<4>();
        let (input, kernel) = (input.storage(), kernel.storage());
        let out = forward(input, kernel, bias.storage(), [b, c, h * w], ceiling);
        tensor(out, [b, o, h, w])
    }
}

impl PointwiseConvBackward for Flex {
    fn pointwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [b, c, h, w] = input.layout().shape().dims();
        let [o, ..] = kernel.layout().shape().dims::<4>();
        let tensors = [input, kernel, output, gradient].map(|x| x.to_contiguous());
        let [d_input, d_kernel, d_bias] = backward(&Pass::of(&tensors), [b, c, h * w], o, ceiling);
        (
            tensor(d_input, [b, c, h, w]),
            tensor(d_kernel, [o, c, 1, 1]),
            tensor(d_bias, [o]),
        )
    }
}

/// `input` of `shape` `[B, C, N]`, `kernel` `[O, C]`, `bias` `[O]` → `[B, O, N]`, clamped to [0, `ceiling`] where there is
/// one.
///
/// # Panics
/// Where an argument is not of its shape.
fn forward(input: &[f32], kernel: &[f32], bias: &[f32], shape: [usize; 3], ceiling: Option<f32>) -> Vec<f32> {
    let [b, c, n] = shape;
    let o = bias.len();
    let (input, kernel) = (images(input, shape), matrix(kernel, [o, c]));
    let mut out = vec![0.0; b * o * n];
    let arch = Arch::new();
    tiles(images_mut(&mut out, [b, o, n]))
        .into_par_iter()
        .for_each(|(image, first, mut tile)| {
            let columns = first..first + tile.ncols();
            let input = input.slice(s![image, .., columns]);
            product(kernel, input, 0.0, tile.view_mut());
            arch.dispatch(|| finish(tile, bias, ceiling));
        });
    out
}

#[inline(always)]
fn finish(mut tile: ArrayViewMut2<f32>, bias: &[f32], ceiling: Option<f32>) {
    for (mut row, bias) in tile.outer_iter_mut().zip(bias) {
        for x in row.as_slice_mut().unwrap_or_default() {
            *x += bias;
            if let Some(ceiling) = ceiling {
                *x = x.max(0.0).min(ceiling);
            }
        }
    }
}

/// The gradients of input `[B, C, N]`, kernel `[O, C]` and bias `[O]`, from a `pass` whose input is of `shape` `[B, C, N]`
/// and whose output is `[B, O, N]`; where the output was clamped it passes none.
///
/// # Panics
/// Where an argument is not of its shape.
fn backward(pass: &Pass, shape: [usize; 3], o: usize, ceiling: Option<f32>) -> [Vec<f32>; 3] {
    let [b, c, n] = shape;
    let (input, kernel) = (images(pass.input, shape), matrix(pass.kernel, [o, c]));
    let mut d_input = vec![0.0; b * c * n];
    let part = b.div_ceil(PARTS).max(1);
    let arch = Arch::new();
    let sums: Vec<(Array2<f32>, Vec<f32>)> = images_mut(&mut d_input, shape)
        .axis_chunks_iter_mut(Axis(0), part)
        .enumerate()
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(i, mut d_input)| {
            let mut d_kernel = Array2::zeros((o, c));
            let mut d_bias = vec![0.0; o];
            let mut passed = vec![0.0; o * n];
            for (j, d_input) in d_input.outer_iter_mut().enumerate() {
                let image = i * part + j;
                let range = image * o * n..(image + 1) * o * n;
                let (output, gradient) = (&pass.output[range.clone()], &pass.gradient[range]);
                arch.dispatch(|| let_pass(output, gradient, ceiling, &mut passed, &mut d_bias));
                let passed = matrix(&passed, [o, n]);
                let x = input.index_axis(Axis(0), image);
                product(passed, x.t(), 1.0, d_kernel.view_mut());
                product(kernel.t(), passed, 0.0, d_input);
            }
            (d_kernel, d_bias)
        })
        .collect();
    let mut d_kernel = Array2::zeros((o, c));
    let mut d_bias = vec![0.0; o];
    for (kernel, bias) in sums {
        d_kernel += &kernel;
        d_bias.iter_mut().zip(bias).for_each(|(sum, b)| *sum += b);
    }
    [d_input, d_kernel.into_raw_vec_and_offset().0, d_bias]
}

/// The gradient `[O, N]` where the output was not clamped, 0 elsewhere; its sum by channel is added to `sums`.
#[inline(always)]
fn let_pass(output: &[f32], gradient: &[f32], ceiling: Option<f32>, passed: &mut [f32], sums: &mut [f32]) {
    match ceiling {
        Some(ceiling) => {
            for ((to, y), g) in passed.iter_mut().zip(output).zip(gradient) {
                *to = if *y > 0.0 && *y < ceiling { *g } else { 0.0 };
            }
        }
        None => passed.copy_from_slice(gradient),
    }
    let n = (passed.len() / sums.len().max(1)).max(1);
    for (sum, row) in sums.iter_mut().zip(passed.chunks_exact(n)) {
        let mut lanes = [0.0f32; 16];
        let runs = row.chunks_exact(lanes.len());
        let rest: f32 = runs.remainder().iter().sum();
        for run in runs {
            lanes.iter_mut().zip(run).for_each(|(lane, x)| *lane += x);
        }
        *sum += lanes.iter().sum::<f32>() + rest;
    }
}

/// `to` in parts for one product each: image, first column, and the part.
fn tiles(to: ArrayViewMut3<'_, f32>) -> Vec<(usize, usize, ArrayViewMut2<'_, f32>)> {
    let (_, rows, n) = to.dim();
    let most = (TILE / rows.max(1)).max(64);
    // All tiles of an image about as wide, in whole vectors.
    let width = n.div_ceil(n.div_ceil(most).max(1)).next_multiple_of(16);
    let mut tiles = Vec::new();
    for (image, mut rest) in to.into_outer_iter_mut().enumerate() {
        let mut first = 0;
        while rest.ncols() > width {
            let (tile, other) = rest.split_at(Axis(1), width);
            tiles.push((image, first, tile));
            first += width;
            rest = other;
        }
        tiles.push((image, first, rest));
    }
    tiles
}

#[expect(clippy::expect_used, reason = "a caller's mistake, not a user's")]
fn images(values: &[f32], [b, c, n]: [usize; 3]) -> ArrayView3<'_, f32> {
    ArrayView3::from_shape((b, c, n), values).expect("a batch has its own shape")
}

#[expect(clippy::expect_used, reason = "a caller's mistake, not a user's")]
fn images_mut(values: &mut [f32], [b, c, n]: [usize; 3]) -> ArrayViewMut3<'_, f32> {
    ArrayViewMut3::from_shape((b, c, n), values).expect("a batch has its own shape")
}

#[expect(clippy::expect_used, reason = "a caller's mistake, not a user's")]
fn matrix(values: &[f32], [rows, columns]: [usize; 2]) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), values).expect("a matrix has its own shape")
}
