//! A plane is copied once into a padded buffer, split by the stride into phases, in which every entry of the kernel finds
//! all that it multiplies side by side, whatever the stride and the dilation. So each pass is a sum of shifted vectors.

use std::ops::Range;

use crate::kernels::depthwise_conv::Window;

/// Output entries that are summed in registers.
const LANES: usize = 32;

/// One channel of one image in the backward pass.
pub struct Plane<'a> {
    /// `[H, W]`
    pub input: &'a [f32],
    /// `[k, k]`
    pub kernel: &'a [f32],
    /// `[h, w]`
    pub output: &'a [f32],
    /// `[h, w]`
    pub gradient: &'a [f32],
}

/// Buffers that a thread uses again.
#[derive(Default)]
pub struct Scratch {
    /// The padded input, phase by phase.
    input: Vec<f32>,
    /// The output, or its gradient, in rows of the phases' pitch.
    output: Vec<f32>,
}

/// Where a padded plane's pixels lie: row y and column x are in phase (y mod s, x mod s), at (y / s, x / s).
pub struct Phases<'a> {
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
    /// Of the planes that the `window` lies on.
    pub fn new(window: &'a Window) -> Phases<'a> {
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

    /// `input` `[H, W]`, `kernel` `[k, k]` → `out` `[h, w]`.
    #[inline(always)]
    pub fn forward(
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
        for (out, sums) in out.chunks_exact_mut(width).zip(sums.chunks(self.pitch.max(1))) {
            out.copy_from_slice(&sums[..width]);
        }
    }

    /// The gradient of a plane's input `[H, W]`, and into `share` those of its kernel, `[k, k]`, and of its bias behind.
    #[inline(always)]
    pub fn backward(
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
        share[self.taps.len()] = self.let_pass(plane, ceiling, reach, &mut scratch.output);
        let gradient = &scratch.output[reach..];
        for (sum, (phase, place)) in share.iter_mut().zip(&self.taps) {
            let mut lanes = [0.0f32; LANES];
            for i in (0..self.length).step_by(LANES) {
                let x = &scratch.input[phase * self.size + place + i..][..LANES];
                let g = &gradient[i..][..LANES];
                for ((lane, x), g) in lanes.iter_mut().zip(x).zip(g) {
                    *lane += x * g;
                }
            }
            *sum = lanes.iter().sum();
        }
        self.gather(plane.kernel, reach, &scratch.output, &mut scratch.input);
        self.join(&scratch.input, d_input);
    }

    /// Leaves the gradient in `to`, behind `reach` zeros, in rows of the pitch, where the output was not clamped; gives its
    /// sum.
    #[inline(always)]
    fn let_pass(&self, plane: &Plane, ceiling: Option<f32>, reach: usize, to: &mut Vec<f32>) -> f32 {
        let width = self.window.output[1].max(1);
        to.clear();
        to.resize(reach + self.size + 2 * LANES, 0.0);
        let rows = plane.gradient.chunks_exact(width);
        let outputs = plane.output.chunks_exact(width);
        let mut total = 0.0;
        for ((row, output), to) in rows.zip(outputs).zip(to[reach..].chunks_mut(self.pitch.max(1))) {
            for ((to, g), y) in to.iter_mut().zip(row).zip(output) {
                let passes = ceiling.is_none_or(|ceiling| *y > 0.0 && *y < ceiling);
                *to = if passes { *g } else { 0.0 };
            }
            total += to[..width].iter().sum::<f32>();
        }
        total
    }

    /// Fills the phases of the input with what each of its pixels gave to the outputs, whose gradient is behind `reach`
    /// zeros.
    #[inline(always)]
    fn gather(&self, kernel: &[f32], reach: usize, gradient: &[f32], phases: &mut [f32]) {
        let stride = self.window.stride;
        for phase in 0..stride * stride {
            for i in (0..self.size).step_by(LANES) {
                let mut sum = [0.0f32; LANES];
                for (weight, (_, place)) in kernel.iter().zip(&self.taps).filter(|(_, (p, _))| *p == phase) {
                    let g = &gradient[reach + i - place..][..LANES];
                    for (sum, g) in sum.iter_mut().zip(g) {
                        *sum += weight * g;
                    }
                }
                let n = LANES.min(self.size - i);
                phases[phase * self.size + i..][..n].copy_from_slice(&sum[..n]);
            }
        }
    }
}
