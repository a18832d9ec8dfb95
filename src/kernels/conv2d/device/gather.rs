//! A convolution as a sum over taps at places, which forward pass and gradient of the input both are.

use crate::kernels::conv2d::Sizes;

/// out[o, y e + f] = bias[o] + Σ kernel[o, c, i, j] in[c, y s + i d - p] over channels c and taps i, j, for places y and
/// every e-th pixel of the target from f on; rows first in every pair, and in each group apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    pub images: usize,
    pub groups: usize,
    /// Channels that are summed over, of a group.
    pub channels: usize,
    /// Channels of the result, of a group.
    pub outputs: usize,
    /// Rows and columns of what is read.
    pub source: [usize; 2],
    /// Places along either side.
    pub places: [usize; 2],
    pub taps: [usize; 2],
    /// s
    pub step: [usize; 2],
    /// d
    pub dilation: [usize; 2],
    /// p, negative where the first window begins inside of the source.
    pub before: [i64; 2],
    /// Rows and columns of the result.
    pub target: [usize; 2],
    /// e
    pub every: [usize; 2],
    /// f
    pub first: [usize; 2],
    /// Entries of the kernel from one group, output, channel, tap row and tap column to the next.
    pub strides: [i64; 5],
    /// The entry of the first tap.
    pub start: i64,
}

impl Gather {
    /// The forward pass: places are the pixels of the output.
    pub fn forward(sizes: &Sizes) -> Gather {
        let [k, l] = sizes.kernel;
        let entries = sizes.inputs * k * l;
        Gather {
            images: sizes.images,
            groups: sizes.groups,
            channels: sizes.inputs,
            outputs: sizes.outputs,
            source: sizes.image,
            places: sizes.out,
            taps: sizes.kernel,
            step: sizes.stride,
            dilation: sizes.dilation,
            before: sizes.padding.map(|p| p as i64),
            target: sizes.out,
            every: [1; 2],
            first: [0; 2],
            strides: [sizes.outputs * entries, entries, k * l, l, 1].map(|n| n as i64),
            start: 0,
        }
    }

    /// The gradient of the input. Pixels whose distance is a multiple of the stride are seen by the same entries of the
    /// kernel, so that each of these phases is a sum over few taps without gaps; together they fill the target.
    pub fn backward_input(sizes: &Sizes) -> Vec<Gather> {
        let [k, l] = sizes.kernel;
        let area = k * l;
        let strides = [sizes.outputs * sizes.inputs * area, area, sizes.inputs * area].map(|n| n as i64);
        let [rows, columns] = [0, 1].map(|i| phases(sizes, i));
        let mut gathers = Vec::new();
        for row in &rows {
            for column in &columns {
                let both = |of: fn(&Phase) -> i64| [of(row), of(column)];
                let sides = |of: fn(&Phase) -> usize| [of(row), of(column)];
                gathers.push(Gather {
                    images: sizes.images,
                    groups: sizes.groups,
                    channels: sizes.outputs,
                    outputs: sizes.inputs,
                    source: sizes.out,
                    places: sides(|p| p.places),
                    taps: sides(|p| p.taps),
                    step: [1; 2],
                    dilation: sides(|p| p.dilation),
                    before: both(|p| p.before),
                    target: sizes.image,
                    every: sizes.stride,
                    first: sides(|p| p.first),
                    strides: [
                        strides[0],
                        strides[1],
                        strides[2],
                        row.tap_step * l as i64,
                        column.tap_step,
                    ],
                    start: row.first_tap * l as i64 + column.first_tap,
                });
            }
        }
        gathers
    }

    /// Places of an image.
    pub fn area(&self) -> usize {
        self.places[0] * self.places[1]
    }

    /// As both shaders read it.
    pub fn words(&self, has_bias: bool) -> Vec<i32> {
        let unsigned = |pairs: &[[usize; 2]]| pairs.concat().into_iter().map(|n| n as i64).collect::<Vec<_>>();
        let mut words = vec![self.images as i64, self.channels as i64, self.outputs as i64];
        words.extend(unsigned(&[
            self.source,
            self.places,
            self.taps,
            self.step,
            self.dilation,
        ]));
        words.extend(self.before);
        words.extend(unsigned(&[self.target, self.every, self.first]));
        words.extend(self.strides);
        words.extend([self.start, self.groups as i64, i64::from(has_bias)]);
        words.into_iter().map(|n| n as i32).collect()
    }
}

/// Every stride-th row, or column, of the input: which entries of the kernel saw them, from the one that the first pixel
/// of the gradient met to the last.
struct Phase {
    first: usize,
    places: usize,
    taps: usize,
    /// Pixels of the gradient between taps.
    dilation: usize,
    before: i64,
    first_tap: i64,
    tap_step: i64,
}

/// The phases along rows (0) or columns (1) that have a pixel.
fn phases(sizes: &Sizes, side: usize) -> Vec<Phase> {
    let pick = |pair: [usize; 2]| pair[side];
    let (stride, dilation, padding) = (pick(sizes.stride), pick(sizes.dilation), pick(sizes.padding));
    let step = stride / gcd(stride, dilation);
    (0..stride.min(pick(sizes.image)))
        .map(|first| {
            let places = (pick(sizes.image) - first).div_ceil(stride);
            // Entry t of the kernel saw pixel `first + stride m` from place m + (first + padding - t dilation) / stride.
            let meets = |t: &usize| (first + padding) as i64 - (t * dilation) as i64;
            let seen: Vec<usize> = (0..pick(sizes.kernel))
                .filter(|t| meets(t).rem_euclid(stride as i64) == 0)
                .collect();
            let last = seen.last().copied().unwrap_or(0);
            Phase {
                first,
                places,
                taps: seen.len(),
                dilation: step * dilation / stride,
                before: -meets(&last).div_euclid(stride as i64),
                first_tap: last as i64,
                tap_step: -(step as i64),
            }
        })
        .collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
