//! The mean field on the CPU, the twin of `mean_field.wgsl`: labels in groups of SIMD lanes.

#[cfg(test)]
mod tests;
mod weights;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use rayon::prelude::*;

use super::{Compatibility, MeanField};
use crate::kernels::cpu::{exp, tensor};
use crate::kernels::lattice::{CpuLattice, Normalisation};
use weights::Weights;

/// Probabilities that one parallel task updates: few enough to stay in the innermost cache.
const TASK: usize = 8192;

impl MeanField for Flex {
    fn mean_field(unary: FloatTensor<Self>, kernels: Vec<super::Kernel>, iterations: usize) -> FloatTensor<Self> {
        let unary = unary.to_contiguous();
        let [c, n] = unary.layout().shape().dims();
        let posterior = mean_field(unary.storage(), c, None, &on_cpu(&kernels), iterations);
        tensor(posterior, [c, n])
    }

    fn mean_field_from(
        unary: FloatTensor<Self>,
        posterior: FloatTensor<Self>,
        kernels: Vec<super::Kernel>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        let [unary, posterior] = [unary, posterior].map(|x| x.to_contiguous());
        let [c, n] = unary.layout().shape().dims();
        let start = Some(posterior.storage());
        let posterior = mean_field(unary.storage(), c, start, &on_cpu(&kernels), iterations);
        tensor(posterior, [c, n])
    }

    fn pairwise_energy(posterior: FloatTensor<Self>, kernels: Vec<super::Kernel>) -> FloatTensor<Self> {
        let posterior = posterior.to_contiguous();
        let [c, n] = posterior.layout().shape().dims();
        tensor(pairwise_energy(posterior.storage(), c, &on_cpu(&kernels)), [c, n])
    }
}

/// One pairwise kernel.
struct Kernel<'a> {
    /// The filter.
    lattice: &'a CpuLattice,
    /// What labels cost one another.
    compatibility: &'a Compatibility,
    /// What is multiplied before and after the filter.
    normalisation: Normalisation,
}

fn on_cpu(kernels: &[super::Kernel]) -> Vec<Kernel<'_>> {
    (kernels.iter())
        .map(|kernel| Kernel {
            lattice: kernel.lattice.cpu(),
            compatibility: &kernel.compatibility,
            normalisation: kernel.normalisation,
        })
        .collect()
}

/// `unary` `[C, N]`, negative log probabilities, → posterior `[C, N]` after `iterations` parallel updates of `start`
/// `[C, N]`, or of softmax(-unary) where there is none. Posteriors below 1e-27 become zero. The result has the same bits
/// whatever the number of threads.
///
/// # Panics
/// If `channels` is 0, or `unary`, a lattice or a matrix is not of the size that `channels` and the pixels ask for.
fn mean_field(
    unary: &[f32],
    channels: usize,
    start: Option<&[f32]>,
    kernels: &[Kernel],
    iterations: usize,
) -> Vec<f32> {
    let problem = Problem {
        unary,
        channels,
        start,
        iterations,
        gives: Gives::Posterior,
    };
    problem.run(kernels)
}

/// What every label of every pixel pays `[C, N]` for the posterior `[C, N]`.
///
/// # Panics
/// As [`mean_field`].
fn pairwise_energy(posterior: &[f32], channels: usize, kernels: &[Kernel]) -> Vec<f32> {
    let problem = Problem {
        unary: &vec![0.0; posterior.len()],
        channels,
        start: Some(posterior),
        iterations: 1,
        gives: Gives::Logits,
    };
    problem.run(kernels).into_iter().map(|logit| -logit).collect()
}

/// What an update ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gives {
    Posterior,
    /// The logits that the posterior would be the softmax of.
    Logits,
}

/// Updates from a posterior, or from softmax(-unary).
struct Problem<'a> {
    unary: &'a [f32],
    channels: usize,
    start: Option<&'a [f32]>,
    iterations: usize,
    gives: Gives,
}

impl Problem<'_> {
    fn run(&self, kernels: &[Kernel]) -> Vec<f32> {
        let (unary, channels) = (self.unary, self.channels);
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
            if let Compatibility::Matrix(matrix) = kernel.compatibility {
                assert_eq!(matrix.len(), channels * channels, "matrix is not [C, C]");
            }
        }
        match channels {
            1 => self.infer::<1>(kernels),
            2 => self.infer::<2>(kernels),
            3 | 4 => self.infer::<4>(kernels),
            _ => self.infer::<8>(kernels),
        }
    }

    /// Mean field with labels in groups of L lanes, the last group filled up with lanes of probability zero: only one
    /// group's tables of lattice values are held at a time, whatever the number of labels.
    fn infer<const L: usize>(&self, kernels: &[Kernel]) -> Vec<f32> {
        let terms = Terms::<L>::new(self, kernels);
        // [N, groups] of L lanes.
        let mut posterior = vec![[0.0f32; L]; terms.pixels * terms.groups];
        let mut logits = Vec::new();
        if terms.apart {
            logits = posterior.clone();
        }
        let mut tables: Vec<_> = kernels.iter().map(|k| k.lattice.table::<L>()).collect();
        let mut scratch = Vec::new();
        match self.start {
            Some(start) => lanes(start, terms.groups, terms.pixels, &mut posterior),
            None => terms.begin(&mut posterior),
        }
        for _ in 0..self.iterations {
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
        planes(&posterior, terms.groups, self.channels, terms.pixels)
    }
}

/// The terms of the energy, in groups of lanes.
struct Terms<'a, const L: usize> {
    unary: &'a [f32],
    kernels: &'a [Kernel<'a>],
    /// By kernel.
    weights: Vec<Weights<L>>,
    /// By kernel, before and after its filter.
    factors: Vec<[&'a [f32]; 2]>,
    gives: Gives,
    pixels: usize,
    groups: usize,
    /// A matrix over several groups writes to the logits of groups whose posterior is still to be filtered: whether they
    /// need a place of their own.
    apart: bool,
}

impl<'a, const L: usize> Terms<'a, L> {
    fn new(problem: &Problem<'a>, kernels: &'a [Kernel]) -> Self {
        let groups = problem.channels.div_ceil(L);
        let weights: Vec<Weights<L>> = kernels
            .iter()
            .map(|kernel| Weights::new(kernel.compatibility, problem.channels, groups))
            .collect();
        let factors = kernels
            .iter()
            .map(|kernel| kernel.lattice.factors(kernel.normalisation));
        let mixing = weights.iter().any(|w| matches!(w, Weights::Matrix(_)));
        Terms {
            unary: problem.unary,
            kernels,
            weights,
            factors: factors.collect(),
            gives: problem.gives,
            pixels: problem.unary.len() / problem.channels,
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
        for ((kernel, [before, _]), table) in self.kernels.iter().zip(&self.factors).zip(tables) {
            kernel
                .lattice
                .splat(table, scratch, |n| (before[n], &posterior[n * self.groups + group]));
            kernel.lattice.blur(table, scratch, false);
        }
    }

    /// Adds what one group's messages, which the `tables` hold, do to the logits in `rows`; with the last group these
    /// become probabilities, if they are asked for.
    fn update(&self, rows: &mut [[f32; L]], group: usize, tables: &[Vec<[f32; L]>]) {
        let groups = self.groups;
        self.tasks(rows, |first, rows| {
            if !self.apart {
                negate(self.unary, self.pixels, first, rows, groups, group);
            } else if group == 0 {
                self.negate_all(first, rows);
            }
            for (k, (kernel, weights)) in self.kernels.iter().zip(&self.weights).enumerate() {
                let after = &self.factors[k][1][first..];
                kernel
                    .lattice
                    .slice(&tables[k], first, rows.len() / groups, |i, filtered| {
                        let message = filtered.map(|value| after[i] * value);
                        weights.add(message, &mut rows[i * groups..][..groups], group);
                    });
            }
            if group + 1 == groups && self.gives == Gives::Posterior {
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

/// `[C, N]` → `[N, groups]` of L lanes, where `rows` are zero.
fn lanes<const L: usize>(planes: &[f32], groups: usize, pixels: usize, rows: &mut [[f32; L]]) {
    // A block of pixels of all labels stays in the innermost cache.
    let block = (TASK / (L * groups)).max(32);
    rows.par_chunks_mut(block * groups).enumerate().for_each(|(i, rows)| {
        let first = i * block;
        for (channel, plane) in planes.chunks_exact(pixels).enumerate() {
            for (row, value) in rows[channel / L..].iter_mut().step_by(groups).zip(&plane[first..]) {
                row[channel % L] = *value;
            }
        }
    });
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
