//! CPU twin of `depthwise_conv.wgsl`, `depthwise_conv_backward_input.wgsl` and `depthwise_conv_backward_kernel.wgsl`.
//!
//! A plane is copied once into a padded buffer, split by the stride into phases, in which every entry of the kernel finds
//! all that it multiplies side by side, whatever the stride and the dilation. So each pass is a sum of shifted vectors.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use crate::kernels::depthwise_conv::Window;

/// Output entries that are summed in registers.
const LANES: usize = 32;

/// Inputs of the backward pass.
pub struct Backward<'a> {
    /// `[B, C, H, W]`
    pub input: &'a [f32],
    /// `[C, K, K]`
    pub kernel: &'a [f32],
    /// `[B, C, h, w]`, what the forward pass gave.
    pub output: &'a [f32],
    /// `[B, C, h, w]`, that of the output.
    pub gradient: &'a [f32],
}

/// `input` `[B, C, H, W]`, `kernel` `[C, K, K]`, `bias` `[C]` → `[B, C, h, w]`, clamped to [0, `ceiling`] where there is
/// one.
pub fn forward(
    input: &[f32],
    kernel: &[f32],
    bias: &[f32],
    window: &Window,
    ceiling: Option<f32>,
) -> Vec<f32> {
    let phases = Phases::new(window);
    let channels = bias.len().max(1);
    let (plane, area) = (window.input[0] * window.input[1], window.kernel.pow(2));
    let out_plane = window.output[0] * window.output[1];
    let mut out = vec![0.0; input.len() / plane.max(1) * out_plane];
    let arch = Arch::new();
    out.par_chunks_mut(out_plane.max(1))
        .zip(input.par_chunks(plane.max(1)))
        .enumerate()
        .for_each_init(Scratch::default, |scratch, (i, (out, input))| {
            let c = i % channels;
            let kernel = &kernel[c * area..][..area];
            arch.dispatch(|| phases.forward(scratch, input, kernel, bias[c], ceiling, out));
        });
    out
}

/// The gradients of input `[B, C, H, W]`, kernel `[C, K, K]` and bias `[C]`; where the output was clamped it passes none.
pub fn backward(pass: &Backward, window: &Window, ceiling: Option<f32>) -> [Vec<f32>; 3] {
    let phases = Phases::new(window);
    let (plane, area) = (window.input[0] * window.input[1], window.kernel.pow(2));
    let out_plane = window.output[0] * window.output[1];
    let channels = (pass.kernel.len() / area.max(1)).max(1);
    let mut d_input = vec![0.0; pass.input.len()];
    // Every plane's own share of the kernel's and the bias's gradient: added up in one order, on any number of threads.
    let mut shares = vec![0.0; pass.input.len() / plane.max(1) * (area + 1)];
    let arch = Arch::new();
    d_input
        .par_chunks_mut(plane.max(1))
        .zip(shares.par_chunks_mut(area + 1))
        .enumerate()
        .for_each_init(Scratch::default, |scratch, (i, (d_input, share))| {
            let out = i * out_plane..(i + 1) * out_plane;
            let plane = Plane {
                input: &pass.input[i * plane..][..plane],
                kernel: &pass.kernel[(i % channels) * area..][..area],
                output: &pass.output[out.clone()],
                gradient: &pass.gradient[out],
            };
            arch.dispatch(|| phases.backward(scratch, &plane, ceiling, d_input, share));
        });
    let mut d_kernel = vec![0.0; channels * area];
    let mut d_bias = vec![0.0; channels];
    for (i, share) in shares.chunks_exact(area + 1).enumerate() {
        let c = i % channels;
        let sums = &mut d_kernel[c * area..][..area];
        for (sum, part) in sums.iter_mut().zip(share) {
            *sum += part;
        }
        d_bias[c] += share[area];
    }
    [d_input, d_kernel, d_bias]
}

/// One channel of one image in the backward pass.
struct Plane<'a> {
    input: &'a [f32],
    kernel: &'a [f32],
    output: &'a [f32],
    gradient: &'a [f32],
}

/// Buffers that a thread uses again.
#[derive(Default)]
struct Scratch {
    /// The padded input, phase by phase.
    input: Vec<f32>,
    /// The output, or its gradient, in rows of the phases' pitch.
    output: Vec<f32>,
}

/// Where a padded plane's pixels lie: row y and column x are in phase (y mod s, x mod s), at (y / s, x / s).
struct Phases<'a> {
    window: &'a Window,
    /// Entries of a row of a phase.
    pitch: usize,
    /// Entries of a phase.
    size: usize,
    /// Each entry's phase and its place there for the first output, in the kernel's order.
    taps: Vec<(usize, usize)>,
    /// From the first output entry to the last, in rows of the pitch.
    length: usize,
}

impl<'a> Phases<'a> {
    fn new(window: &'a Window) -> Phases<'a> {
        let Window {
            stride,
            dilation,
            kernel,
            output: [h, w],
            ..
        } = *window;
        let reach = (kernel - 1) * dilation;
        let rows = (h.saturating_sub(1) * stride + reach + 1).div_ceil(stride);
        let pitch = (w.saturating_sub(1) * stride + reach + 1).div_ceil(stride);
        let offsets = (0..kernel).map(|k| k * dilation);
        let taps = offsets
            .clone()
            .flat_map(|y| {
                offsets.clone().map(move |x| {
                    let phase = (y % stride) * stride + x % stride;
                    (phase, (y / stride) * pitch + x / stride)
                })
            })
            .collect();
        Phases {
            window,
            pitch,
            size: rows * pitch,
            taps,
            length: (h * pitch + w).saturating_sub(pitch),
        }
    }

    /// Where the pixels of an image row lie that share a phase: the row, its first pixel among them, and their places.
    #[inline(always)]
    fn runs(&self) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
        let Window {
            stride,
            input: [height, width],
            before: [top, left],
            ..
        } = *self.window;
        let (pitch, size) = (self.pitch, self.size);
        (0..height)
            .map(move |y| (y, (y + top) % stride * stride, (y + top) / stride * pitch))
            // What is below of all windows has no place.
            .take_while(move |(_, _, start)| *start < size)
            .flat_map(move |(y, phase, start)| {
                (0..stride.min(width)).filter_map(move |first| {
                    let column = first + left;
                    let start_of_phase = (phase + column % stride) * size;
                    let column = column / stride;
                    let places = start_of_phase + start + column..start_of_phase + start + pitch;
                    (column < pitch).then_some((y, first, places))
                })
            })
    }

    /// Fills `to` with the padded input, and room for a whole run of lanes behind it.
    #[inline(always)]
    fn split(&self, input: &[f32], to: &mut Vec<f32>) {
        let (stride, width) = (self.window.stride, self.window.input[1]);
        to.clear();
        to.resize(self.size * stride * stride + LANES, 0.0);
        for (y, first, places) in self.runs() {
            let (row, to) = (&input[y * width..][..width], &mut to[places]);
            if stride == 1 {
                let n = to.len().min(row.len());
                to[..n].copy_from_slice(&row[..n]);
            } else {
                let values = row.iter().skip(first).step_by(stride);
                to.iter_mut().zip(values).for_each(|(to, v)| *to = *v);
            }
        }
    }

    /// The reverse of [`Self::split`]; what no window sees stays as it is.
    #[inline(always)]
    fn join(&self, phases: &[f32], to: &mut [f32]) {
        let (stride, width) = (self.window.stride, self.window.input[1]);
        for (y, first, places) in self.runs() {
            let row = to[y * width..][..width].iter_mut();
            let row = row.skip(first).step_by(stride);
            row.zip(&phases[places]).for_each(|(to, v)| *to = *v);
        }
    }

    #[inline(always)]
    fn forward(
        &self,
        scratch: &mut Scratch,
        input: &[f32],
        kernel: &[f32],
        bias: f32,
        ceiling: Option<f32>,
        out: &mut [f32],
    ) {
        self.split(input, &mut scratch.input);
        let sums = &mut scratch.output;
        sums.resize(self.length + LANES, 0.0);
        for i in (0..self.length).step_by(LANES) {
            let mut sum = [bias; LANES];
            for (weight, (phase, place)) in kernel.iter().zip(&self.taps) {
                let from = &scratch.input[phase * self.size + place + i..][..LANES];
                for (sum, x) in sum.iter_mut().zip(from) {
                    *sum += weight * x;
                }
            }
            if let Some(ceiling) = ceiling {
                for sum in &mut sum {
                    *sum = sum.max(0.0).min(ceiling);
                }
            }
            sums[i..i + LANES].copy_from_slice(&sum);
        }
        let width = self.window.output[1].max(1);
        for (out, sums) in out
            .chunks_exact_mut(width)
            .zip(sums.chunks(self.pitch.max(1)))
        {
            out.copy_from_slice(&sums[..width]);
        }
    }

    #[inline(always)]
    fn backward(
        &self,
        scratch: &mut Scratch,
        plane: &Plane,
        ceiling: Option<f32>,
        d_input: &mut [f32],
        share: &mut [f32],
    ) {
        self.split(plane.input, &mut scratch.input);
        // As many zeros before the gradient as a tap reaches: then every phase of the input gathers what it gave.
        let reach = self.taps.iter().map(|(_, place)| *place).max().unwrap_or(0);
        let width = self.window.output[1].max(1);
        let gradient = &mut scratch.output;
        gradient.clear();
        gradient.resize(reach + self.size + 2 * LANES, 0.0);
        let rows = plane.gradient.chunks_exact(width);
        let outputs = plane.output.chunks_exact(width);
        let mut total = 0.0;
        for ((row, output), to) in rows
            .zip(outputs)
            .zip(gradient[reach..].chunks_mut(self.pitch.max(1)))
        {
            for ((to, g), y) in to.iter_mut().zip(row).zip(output) {
                let passes = ceiling.is_none_or(|ceiling| *y > 0.0 && *y < ceiling);
                *to = if passes { *g } else { 0.0 };
            }
            total += to[..width].iter().sum::<f32>();
        }
        let area = self.taps.len();
        share[area] = total;
        for (sum, (phase, place)) in share.iter_mut().zip(&self.taps) {
            let mut lanes = [0.0f32; LANES];
            for i in (0..self.length).step_by(LANES) {
                let x = &scratch.input[phase * self.size + place + i..][..LANES];
                let g = &gradient[reach + i..][..LANES];
                for ((lane, x), g) in lanes.iter_mut().zip(x).zip(g) {
                    *lane += x * g;
                }
            }
            *sum = lanes.iter().sum();
        }
        let stride = self.window.stride;
        let phases = &mut scratch.input;
        for phase in 0..stride * stride {
            for i in (0..self.size).step_by(LANES) {
                let mut sum = [0.0f32; LANES];
                for (weight, (_, place)) in plane
                    .kernel
                    .iter()
                    .zip(&self.taps)
                    .filter(|(_, (p, _))| *p == phase)
                {
                    let g = &gradient[reach + i - place..][..LANES];
                    for (sum, g) in sum.iter_mut().zip(g) {
                        *sum += weight * g;
                    }
                }
                let n = LANES.min(self.size - i);
                phases[phase * self.size + i..][..n].copy_from_slice(&sum[..n]);
            }
        }
        self.join(phases, d_input);
    }
}
