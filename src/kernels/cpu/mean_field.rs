//! Mean field inference in a fully connected CRF (Krähenbühl and Koltun 2011, "Efficient Inference in Fully Connected
//! CRFs with Gaussian Edge Potentials"), Algorithm 1, on the filters of [`super::lattice`].

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::lattice::Lattice;

/// Probabilities that one parallel task updates: few enough to stay in the innermost cache.
const TASK: usize = 8192;

/// One pairwise kernel, normalised symmetrically: a pixel's message is norm_i · filter(norm · Q)_i.
pub struct Kernel<'a> {
    /// The filter.
    pub lattice: &'a Lattice,
    /// `[N]`, from [`normaliser`].
    pub normaliser: &'a [f32],
    /// What labels cost one another.
    pub compatibility: Compatibility,
}

/// The label compatibility μ of a kernel. Both forms are pydensecrf's `compat=`.
#[derive(Clone, Debug, PartialEq)]
pub enum Compatibility {
    /// A number w: the message times w is added to the logits, so that equal labels attract each other. The paper's
    /// w [l ≠ l'] differs from it only by a number that all labels of a pixel share.
    Potts(f32),
    /// A matrix M, row-major `[C, C]`, of costs: S · message is subtracted from the logits, where S = (M + Mᵀ) / 2, as
    /// pydensecrf symmetrises it. `Potts(w)` is the matrix with -w on its diagonal.
    Matrix(Vec<f32>),
}

/// 1 / sqrt(filter(1) + 1e-20), `[N]`.
pub fn normaliser(lattice: &Lattice) -> Vec<f32> {
    let mut sums = lattice.filter(&vec![1.0; lattice.pixels()], 1, false);
    for sum in &mut sums {
        *sum = 1.0 / (*sum + 1e-20).sqrt();
    }
    sums
}

/// `unary` `[C, N]`, negative log probabilities, → posterior `[C, N]` after `iterations` parallel updates; with none,
/// softmax(-unary). Posteriors below 1e-27 become zero. The result has the same bits whatever the number of threads.
///
/// # Panics
/// If `channels` is 0, or `unary`, a normaliser or a matrix is not of the size that `channels` and the lattices ask for.
pub fn mean_field(
    unary: &[f32],
    channels: usize,
    kernels: &[Kernel],
    iterations: usize,
) -> Vec<f32> {
    assert!(
        channels > 0 && unary.len().is_multiple_of(channels),
        "unary is not [C, N]"
    );
    let pixels = unary.len() / channels;
    for kernel in kernels {
        assert!(
            kernel.lattice.pixels() == pixels && kernel.normaliser.len() == pixels,
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
fn infer<const L: usize>(
    unary: &[f32],
    channels: usize,
    kernels: &[Kernel],
    iterations: usize,
) -> Vec<f32> {
    let pixels = unary.len() / channels;
    let groups = channels.div_ceil(L);
    let weights: Vec<Weights<L>> = kernels
        .iter()
        .map(|kernel| Weights::new(&kernel.compatibility, channels, groups))
        .collect();
    let mixing = weights.iter().any(|w| matches!(w, Weights::Matrix(_)));
    // [N, groups] of L lanes.
    let mut posterior = vec![[0.0f32; L]; pixels * groups];
    // A matrix over several groups writes to the logits of groups whose posterior is still to be filtered.
    let mut logits = Vec::new();
    let apart = mixing && groups > 1;
    if apart {
        logits = posterior.clone();
    }
    let mut tables: Vec<_> = kernels
        .iter()
        .map(|kernel| kernel.lattice.table::<L>())
        .collect();
    let mut scratch = Vec::new();

    let task = (TASK / (L * groups)).max(32);
    let rows_of = |rows: &mut Vec<[f32; L]>, update: &(dyn Fn(usize, &mut [[f32; L]]) + Sync)| {
        rows.par_chunks_mut(task * groups)
            .enumerate()
            .for_each(|(i, rows)| update(i * task, rows));
    };
    rows_of(&mut posterior, &|first, rows| {
        for group in 0..groups {
            negate(unary, pixels, first, rows, groups, group);
        }
        softmax(rows, groups);
    });
    for _ in 0..iterations {
        for group in 0..groups {
            for (kernel, table) in kernels.iter().zip(&mut tables) {
                let q = &posterior;
                let norm = &kernel.normaliser;
                kernel
                    .lattice
                    .splat(table, &mut scratch, |n| (norm[n], &q[n * groups + group]));
                kernel.lattice.blur(table, &mut scratch, false);
            }
            let update = |first: usize, rows: &mut [[f32; L]]| {
                if !apart {
                    negate(unary, pixels, first, rows, groups, group);
                } else if group == 0 {
                    for group in 0..groups {
                        negate(unary, pixels, first, rows, groups, group);
                    }
                }
                for ((kernel, weights), table) in kernels.iter().zip(&weights).zip(&tables) {
                    let norms = &kernel.normaliser[first..];
                    kernel
                        .lattice
                        .slice(table, first, rows.len() / groups, |i, filtered| {
                            let message = filtered.map(|value| norms[i] * value);
                            weights.add(message, &mut rows[i * groups..][..groups], group);
                        });
                }
                if group + 1 == groups {
                    softmax(rows, groups);
                }
            };
            rows_of(if apart { &mut logits } else { &mut posterior }, &update);
        }
        if apart {
            std::mem::swap(&mut posterior, &mut logits);
        }
    }

    drop((tables, scratch, logits));
    let mut out = vec![0.0; unary.len()];
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

/// A kernel's compatibility in groups of lanes.
enum Weights<const L: usize> {
    Potts(f32),
    /// For every group of senders and every sender in it, what each group of receivers gets: `[groups, L, groups]`.
    Matrix(Vec<[f32; L]>),
}

impl<const L: usize> Weights<L> {
    fn new(compatibility: &Compatibility, channels: usize, groups: usize) -> Self {
        match compatibility {
            Compatibility::Potts(weight) => Self::Potts(*weight),
            Compatibility::Matrix(matrix) => {
                let mut weights = vec![[0.0; L]; groups * L * groups];
                for to in 0..channels {
                    for from in 0..channels {
                        weights[from * groups + to / L][to % L] =
                            -0.5 * (matrix[to * channels + from] + matrix[from * channels + to]);
                    }
                }
                Self::Matrix(weights)
            }
        }
    }

    /// Adds what one group's `message` does to a pixel's logits.
    #[inline(always)]
    fn add(&self, message: [f32; L], logits: &mut [[f32; L]], group: usize) {
        match self {
            Self::Potts(weight) => {
                for lane in 0..L {
                    logits[group][lane] += weight * message[lane];
                }
            }
            Self::Matrix(weights) => {
                let groups = logits.len();
                let senders = weights[group * L * groups..].chunks_exact(groups);
                for (value, weights) in message.iter().zip(senders) {
                    for (logits, weights) in logits.iter_mut().zip(weights) {
                        for lane in 0..L {
                            logits[lane] += value * weights[lane];
                        }
                    }
                }
            }
        }
    }
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

/// e^x for x ≤ 0 within 3e-7 of its value, 0 below -62: without calls or branches, and without results so small that
/// their products would be denormal, which are slow.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    // 2^n e^r, n the nearest integer to x / ln 2, whose bits the shift brings to the bottom of the mantissa.
    let bounded = if x > -62.0 { x } else { -62.0 };
    let shifted = bounded * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    // ln 2 in two parts, the first of few bits: its multiples are subtracted without rounding.
    let r = (bounded - n * 0.693_359_4) + n * 2.121_944_4e-4;
    // Taylor's series up to r^6, |r| ≤ 0.35.
    let tail = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0));
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * tail)));
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x > -62.0 { series * power } else { 0.0 }
}
