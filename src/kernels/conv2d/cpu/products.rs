//! The three products of a convolution, each in one order on any number of threads.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;

use super::windows::Windows;
use crate::kernels::conv2d::Sizes;
use crate::kernels::cpu::product;

/// Entries of the windows that are unrolled at a time, 512 KB: with what they are multiplied by, they stay in a core's
/// cache.
const ENTRIES: usize = 1 << 17;
/// Pixels of a tile, about.
const PIXELS: usize = 256;
/// Fewest parts that the gradient of a kernel is computed in, so that an image of few channels keeps several cores busy.
const BLOCKS: usize = 8;

/// `input` `[B, G, C, H, W]`, `kernel` `[G, O, C, k, l]`, `bias` `[G, O]` → `[B, G, O, h, w]`.
pub fn forward(sizes: &Sizes, input: &[f32], kernel: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let (area, plane, taps) = (area(sizes.out), area(sizes.image), area(sizes.kernel));
    let outputs = sizes.outputs;
    let mut out = vec![0.0; sizes.images * sizes.groups * outputs * area];
    let tiles: Vec<_> = out
        .chunks_mut((outputs * area).max(1))
        .enumerate()
        .flat_map(|(i, out)| {
            columns(matrix_mut(out, [outputs, area]))
                .into_iter()
                .map(move |tile| (i, tile))
        })
        .collect();
    tiles
        .into_par_iter()
        .for_each_init(Vec::new, |buffer, (i, (first, mut to))| {
            let group = i % sizes.groups;
            let image = &input[i * sizes.inputs * plane..][..sizes.inputs * plane];
            let rows = sizes.inputs * taps;
            let kernel = matrix(&kernel[group * outputs * rows..][..outputs * rows], [outputs, rows]);
            let pixels = first..first + to.ncols();
            for (row, mut to) in to.outer_iter_mut().enumerate() {
                to.fill(bias.map_or(0.0, |bias| bias[group * outputs + row]));
            }
            for channels in blocks(sizes.inputs, taps, pixels.len()) {
                let of = s![.., channels.start * taps..channels.end * taps];
                with_windows(sizes, channels.clone(), pixels.clone(), image, buffer, |windows| {
                    product(kernel.slice(of), windows, 1.0, to.view_mut());
                });
            }
        });
    out
}

/// The gradient of the input `[B, G, C, H, W]`.
pub fn backward_input(sizes: &Sizes, kernel: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (area, plane, taps) = (area(sizes.out), area(sizes.image), area(sizes.kernel));
    let (inputs, outputs, rows) = (sizes.inputs, sizes.outputs, sizes.inputs * taps);
    let mut d_input = vec![0.0; sizes.images * sizes.groups * inputs * plane];
    let block = block(inputs, taps, PIXELS.min(area));
    // A block of an image's channels belongs to one task, which adds up its pixels from the first to the last.
    let tasks: Vec<_> = d_input
        .chunks_mut((inputs * plane).max(1))
        .enumerate()
        .flat_map(|(i, image)| {
            let blocks = image.chunks_mut((block * plane).max(1)).enumerate();
            blocks.map(move |(b, to)| (i, b * block..((b + 1) * block).min(inputs), to))
        })
        .collect();
    tasks
        .into_par_iter()
        .for_each_init(Vec::new, |buffer, (i, channels, to)| {
            let kernel = &kernel[i % sizes.groups * outputs * rows..][..outputs * rows];
            let kernel = matrix(kernel, [outputs, rows]);
            let kernel = kernel.slice(s![.., channels.start * taps..channels.end * taps]);
            let gradient = matrix(&gradient[i * outputs * area..][..outputs * area], [outputs, area]);
            if Windows::are_plain(sizes) {
                product(kernel.t(), gradient, 0.0, matrix_mut(to, [channels.len(), plane]));
                return;
            }
            for pixels in tiles(area) {
                let windows = Windows {
                    sizes,
                    channels: channels.clone(),
                    pixels: pixels.clone(),
                };
                let shape = [windows.rows(), pixels.len()];
                buffer.resize(shape[0] * shape[1], 0.0);
                product(
                    kernel.t(),
                    gradient.slice(s![.., pixels]),
                    0.0,
                    matrix_mut(buffer, shape),
                );
                windows.add(buffer, to);
            }
        });
    d_input
}

/// The gradient of the kernel `[G, O, C, k, l]`.
pub fn backward_kernel(sizes: &Sizes, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (area, plane, taps) = (area(sizes.out), area(sizes.image), area(sizes.kernel));
    let (inputs, outputs, groups) = (sizes.inputs, sizes.outputs, sizes.groups);
    let block = block(inputs, taps, PIXELS.min(area));
    let block = block.min((inputs * groups).div_ceil(BLOCKS)).max(1);
    let by_channels = inputs.div_ceil(block) * groups;
    // Few channels leave work for others in the outputs alone.
    let part = outputs.div_ceil(BLOCKS.div_ceil(by_channels.max(1))).max(1);
    let tasks: Vec<(usize, Range<usize>, Range<usize>)> = (0..groups)
        .flat_map(|group| {
            (0..inputs)
                .step_by(block)
                .map(move |c| (group, c..(c + block).min(inputs)))
        })
        .flat_map(|(group, channels)| {
            let outputs = (0..outputs).step_by(part).map(move |o| o..(o + part).min(outputs));
            outputs.map(move |outputs| (group, channels.clone(), outputs))
        })
        .collect();
    let shares: Vec<Vec<f32>> = tasks
        .par_iter()
        .map_init(Vec::new, |buffer, (group, channels, rows)| {
            let mut share = vec![0.0; rows.len() * channels.len() * taps];
            for image in 0..sizes.images {
                let i = image * groups + group;
                let gradient = matrix(&gradient[i * outputs * area..][..outputs * area], [outputs, area]);
                let image = &input[i * inputs * plane..][..inputs * plane];
                for pixels in tiles(area) {
                    let gradient = gradient.slice(s![rows.clone(), pixels.clone()]);
                    let to = matrix_mut(&mut share, [rows.len(), channels.len() * taps]);
                    with_windows(sizes, channels.clone(), pixels, image, buffer, |windows| {
                        product(gradient, windows.t(), 1.0, to);
                    });
                }
            }
            share
        })
        .collect();
    let mut d_kernel = vec![0.0; groups * outputs * inputs * taps];
    for ((group, channels, rows), share) in tasks.iter().zip(shares) {
        let count = channels.len() * taps;
        for (row, share) in rows.clone().zip(share.chunks_exact(count)) {
            let at = ((group * outputs + row) * inputs + channels.start) * taps;
            d_kernel[at..at + count].copy_from_slice(share);
        }
    }
    d_kernel
}

/// `gradient` `[B, O, N]` → its sum over images and pixels, `[O]`.
pub fn backward_bias(gradient: &[f32], outputs: usize, area: usize) -> Vec<f32> {
    let mut sums = vec![0.0f32; outputs];
    for image in gradient.chunks_exact((outputs * area).max(1)) {
        for (sum, row) in sums.iter_mut().zip(image.chunks_exact(area.max(1))) {
            // Sums of runs: rounding grows with their number and length, not with their product.
            *sum += row.chunks(256).map(|run| run.iter().sum::<f32>()).sum::<f32>();
        }
    }
    sums
}

/// Calls `work` with the windows `[rows, pixels]` of a block of channels, unrolled in `buffer` where they have to be.
fn with_windows(
    sizes: &Sizes,
    channels: Range<usize>,
    pixels: Range<usize>,
    image: &[f32],
    buffer: &mut Vec<f32>,
    work: impl FnOnce(ArrayView2<f32>),
) {
    if Windows::are_plain(sizes) {
        let plane = matrix(image, [sizes.inputs, area(sizes.image)]);
        work(plane.slice(s![channels, pixels]));
        return;
    }
    let windows = Windows {
        sizes,
        channels,
        pixels,
    };
    let shape = [windows.rows(), windows.pixels.len()];
    buffer.resize(shape[0] * shape[1], 0.0);
    windows.read(image, buffer);
    work(matrix(buffer, shape));
}

/// Channels of a block.
fn block(channels: usize, taps: usize, pixels: usize) -> usize {
    let most = (ENTRIES / (taps * pixels.max(1))).max(1);
    channels.div_ceil(channels.div_ceil(most).max(1)).max(1)
}

/// Channels in blocks that fit the cache with so many pixels.
fn blocks(channels: usize, taps: usize, pixels: usize) -> impl Iterator<Item = Range<usize>> {
    let block = block(channels, taps, pixels);
    (0..channels).step_by(block).map(move |c| c..(c + block).min(channels))
}

/// Pixels of a tile of so many, all about as many, in whole vectors.
fn tile(area: usize) -> usize {
    area.div_ceil(area.div_ceil(PIXELS).max(1)).next_multiple_of(16)
}

fn tiles(area: usize) -> impl Iterator<Item = Range<usize>> {
    let tile = tile(area);
    (0..area)
        .step_by(tile)
        .map(move |first| first..(first + tile).min(area))
}

/// A matrix in tiles of columns, each with its first one.
fn columns(mut rest: ArrayViewMut2<'_, f32>) -> Vec<(usize, ArrayViewMut2<'_, f32>)> {
    let mut parts = Vec::new();
    for pixels in tiles(rest.ncols()) {
        let (part, other) = rest.split_at(ndarray::Axis(1), pixels.len());
        parts.push((pixels.start, part));
        rest = other;
    }
    parts
}

fn area([rows, columns]: [usize; 2]) -> usize {
    rows * columns
}

#[expect(clippy::expect_used, reason = "a caller's mistake, not a user's")]
fn matrix(values: &[f32], [rows, columns]: [usize; 2]) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), values).expect("a matrix has its own shape")
}

#[expect(clippy::expect_used, reason = "a caller's mistake, not a user's")]
fn matrix_mut(values: &mut [f32], [rows, columns]: [usize; 2]) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), values).expect("a matrix has its own shape")
}
