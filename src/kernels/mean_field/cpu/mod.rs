//! The mean field on the CPU, the twin of `mean_field.wgsl`: labels in groups of SIMD lanes.

#[cfg(test)]
mod tests;
mod weights;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use rayon::prelude::*;

use super::{Compatibility, MeanField};
use crate::kernels::cpu::{exp, tensor};
use crate::kernels::lattice::{CpuLattice, Lattice};
use weights::Weights;

/// Probabilities that one parallel task updates: few enough to stay in the innermost cache.
const TASK: usize = 8192;

impl MeanField for Flex {
    fn mean_field(
        unary: FloatTensor<Self>,
        kernels: Vec<(Lattice, Compatibility)>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        let unary = unary.to_contiguous();
        let [c, n] = unary.layout().shape().dims();
        let kernels: Vec<Kernel> = kernels
            .iter()
            .map(|(lattice, compatibility)| Kernel {
                lattice: lattice.cpu(),
                compatibility: compatibility.clone(),
            })
            .collect();
        tensor(mean_field(unary.storage(), c, &kernels, iterations), [c, n])
    }
}

/// One pairwise kernel, normalised symmetrically: a pixel's message is norm_i · filter(norm · Q)_i.
struct Kernel<'a> {
    /// The filter.
    lattice: &'a CpuLattice,
    /// What labels cost one another.
    compatibility: Compatibility,
}

/// `unary` `[C, N]`, negative log probabilities, → posterior `[C, N]` after `iterations` parallel updates; with none,
/// softmax(-unary). Posteriors below 1e-27 become zero. The result has the same bits whatever the number of threads.
///
/// # Panics
/// If `channels` is 0, or `unary`, a lattice or a matrix is not of the size that `channels` and the pixels ask for.
fn mean_field(unary: &[f32], channels: usize, kernels: &[Kernel], iterations: usize) -> Vec<f32> {
    assert!(
        channels > 0 && unary.len().is_multiple_of(channels),
        "unary is not [C, N]"
    );
    let pixels = unary.len() / channels;
    for kernel in kernels {
        assert_eq!(
            kernel.lattice.pixels(),
            pixels,
            "a kernel's lattice is not of the unary's pixels"
        );
        if let Compatibility::Matrix(matrix) = &kernel.compatibility {
            assert_eq!(matrix.len(), channels * channels, "matrix is not [C, C]");
        }
    }
    match channels {
        1 => infer::<1>(unary, channels, kernels, iterations),
        2 => infer::<2>(unary, channels, kernels, iterations),
        3 | 4 => infer::<4>(unary, channels, kernels, iterations),
        _ => infer::<8>(unary, channels, kernels, iterations),
    }
}

/// Mean field with labels in groups of L lanes, the last group filled up with lanes of probability zero: only one
/// group's tables of lattice values are held at a time, whatever the number of labels.
fn infer<const L: usize>(unary: &[f32], channels: usize, kernels: &[Kernel], iterations: usize) -> Vec<f32> {
    let terms = Terms::<L>::new(unary, channels, kernels);
    // [N, groups] of L lanes.
    let mut posterior = vec![[0.0f32; L]; terms.pixels * terms.groups];
    let mut logits = Vec::new();
    if terms.apart {
        logits = posterior.clone();
    }
    let mut tables: Vec<_> = kernels.iter().map(|k| k.lattice.table::<L>()).collect();
    let mut scratch = Vec::new();
    terms.begin(&mut posterior);
    for _ in 0..iterations {
        for group in 0..terms.groups {
            terms.filter(&posterior, group, &mut tables, &mut scratch);
            let rows = match terms.apart {
                true => &mut logits,
                false => &mut posterior,
            };
            terms.update(rows, group, &tables);
        }
        if terms.apart {
            std::mem::swap(&mut posterior, &mut logits);
        }
    }
    drop((tables, scratch, logits));
    planes(&posterior, terms.groups, channels, terms.pixels)
}

/// The terms of the energy, in groups of lanes.
struct Terms<'a, const L: usize> {
    unary: &'a [f32],
    kernels: &'a [Kernel<'a>],
    /// By kernel.
    weights: Vec<Weights<L>>,
    pixels: usize,
    groups: usize,
    /// A matrix over several groups writes to the logits of groups whose posterior is still to be filtered: whether they
    /// need a place of their own.
    apart: bool,
}

impl<'a, const L: usize> Terms<'a, L> {
    fn new(unary: &'a [f32], channels: usize, kernels: &'a [Kernel]) -> Self {
        let groups = channels.div_ceil(L);
        let weights: Vec<Weights<L>> = kernels
            .iter()
            .map(|kernel| Weights::new(&kernel.compatibility, channels, groups))
            .collect();
        let mixing = weights.iter().any(|w| matches!(w, Weights::Matrix(_)));
        Terms {
            unary,
            kernels,
            weights,
            pixels: unary.len() / channels,
            groups,
            apart: mixing && groups > 1,
        }
    }

    /// Calls `update` with the rows of every task, and the first of their pixels.
    fn tasks(&self, rows: &mut [[f32; L]], update: impl Fn(usize, &mut [[f32; L]]) + Sync) {
        let task = (TASK / (L * self.groups)).max(32);
        rows.par_chunks_mut(task * self.groups)
            .enumerate()
            .for_each(|(i, rows)| update(i * task, rows));
    }

    /// softmax(-unary).
    fn begin(&self, posterior: &mut [[f32; L]]) {
        self.tasks(posterior, |first, rows| {
            self.negate_all(first, rows);
            softmax(rows, self.groups);
        });
    }

    /// Splats and blurs one group of the posterior, normalised, on every kernel's lattice.
    fn filter(&self, posterior: &[[f32; L]], group: usize, tables: &mut [Vec<[f32; L]>], scratch: &mut Vec<[f32; L]>) {
        for (kernel, table) in self.kernels.iter().zip(tables) {
            let norm = kernel.lattice.normaliser();
            kernel
                .lattice
                .splat(table, scratch, |n| (norm[n], &posterior[n * self.groups + group]));
            kernel.lattice.blur(table, scratch, false);
        }
    }

    /// Adds what one group's messages, which the `tables` hold, do to the logits in `rows`; with the last group these
    /// become probabilities.
    fn update(&self, rows: &mut [[f32; L]], group: usize, tables: &[Vec<[f32; L]>]) {
        let groups = self.groups;
        self.tasks(rows, |first, rows| {
            if !self.apart {
                negate(self.unary, self.pixels, first, rows, groups, group);
            } else if group == 0 {
                self.negate_all(first, rows);
            }
            for ((kernel, weights), table) in self.kernels.iter().zip(&self.weights).zip(tables) {
                let norms = &kernel.lattice.normaliser()[first..];
                kernel.lattice.slice(table, first, rows.len() / groups, |i, filtered| {
                    let message = filtered.map(|value| norms[i] * value);
                    weights.add(message, &mut rows[i * groups..][..groups], group);
                });
            }
            if group + 1 == groups {
                softmax(rows, groups);
            }
        });
    }

    fn negate_all(&self, first: usize, rows: &mut [[f32; L]]) {
        for group in 0..self.groups {
            negate(self.unary, self.pixels, first, rows, self.groups, group);
        }
    }
}

/// `[N, groups]` of L lanes → `[C, N]`.
fn planes<const L: usize>(posterior: &[[f32; L]], groups: usize, channels: usize, pixels: usize) -> Vec<f32> {
    let mut out = vec![0.0; channels * pixels];
    out.par_chunks_exact_mut(pixels.max(1))
        .enumerate()
        .for_each(|(channel, plane)| {
            let rows = posterior[channel / L..].iter().step_by(groups);
            for (out, row) in plane.iter_mut().zip(rows) {
                *out = row[channel % L];
            }
        });
    out
}

/// Sets one group's lanes of `rows`, the pixels from `first` on, to -unary; to -inf where there is no such label.
fn negate<const L: usize>(
    unary: &[f32],
    pixels: usize,
    first: usize,
    rows: &mut [[f32; L]],
    groups: usize,
    group: usize,
) {
    let unary = &unary[group * L * pixels..];
    let labels = (unary.len() / pixels).min(L);
    let planes: [&[f32]; L] = std::array::from_fn(|lane| match lane < labels {
        true => &unary[lane * pixels + first..][..rows.len() / groups],
        false => &[],
    });
    for (i, row) in rows[group..].iter_mut().step_by(groups).enumerate() {
        *row = [f32::NEG_INFINITY; L];
        for lane in 0..labels {
            row[lane] = -planes[lane][i];
        }
    }
}

/// Logits of pixels, `groups` of lanes each, → probabilities. In three passes, the second of which is plain enough to be
/// computed several values at a time.
fn softmax<const L: usize>(rows: &mut [[f32; L]], groups: usize) {
    for row in rows.chunks_exact_mut(groups) {
        let top = across(row, f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
        for group in row {
            *group = group.map(|value| value - top);
        }
    }
    for value in rows.as_flattened_mut() {
        *value = exp(*value);
    }
    for row in rows.chunks_exact_mut(groups) {
        let scale = 1.0 / across(row, 0.0, |a, b| a + b);
        for group in row {
            *group = group.map(|value| value * scale);
        }
    }
}

/// All values of a row combined, lane by lane first.
#[inline(always)]
fn across<const L: usize>(row: &[[f32; L]], start: f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; L];
    for group in row {
        for lane in 0..L {
            lanes[lane] = combine(lanes[lane], group[lane]);
        }
    }
    let mut width = L;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}
