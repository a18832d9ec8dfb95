//! Depthwise convolution on the CPU: the twin of `depthwise_conv.wgsl`, `depthwise_conv_backward_input.wgsl` and
//! `depthwise_conv_backward_kernel.wgsl`, plane by plane.

mod phases;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use pulp::Arch;
use rayon::prelude::*;

use super::{DepthwiseConv, DepthwiseConvBackward, Window};
use crate::kernels::convolution::Pass;
use crate::kernels::cpu::tensor;
use phases::{Phases, Plane, Scratch};

impl DepthwiseConv for Flex {
    fn depthwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        let [input, kernel, bias] = [input, kernel, bias].map(|x| x.to_contiguous());
        let [b, c, _, _] = input.layout().shape().dims();
        let [h, w] = window.output;
        let (input, kernel) = (input.storage(), kernel.storage());
        let out = forward(input, kernel, bias.storage(), &window, ceiling);
        tensor(out, [b, c, h, w])
    }
}

impl DepthwiseConvBackward for Flex {
    fn depthwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [b, c, h, w] = input.layout().shape().dims();
        let k = window.kernel;
        let tensors = [input, kernel, output, gradient].map(|x| x.to_contiguous());
        let [d_input, d_kernel, d_bias] = backward(&Pass::of(&tensors), &window, ceiling);
        (
            tensor(d_input, [b, c, h, w]),
            tensor(d_kernel, [c, 1, k, k]),
            tensor(d_bias, [c]),
        )
    }
}

/// `input` `[B, C, H, W]`, `kernel` `[C, K, K]`, `bias` `[C]` → `[B, C, h, w]`, clamped to [0, `ceiling`] where there is
/// one.
fn forward(input: &[f32], kernel: &[f32], bias: &[f32], window: &Window, ceiling: Option<f32>) -> Vec<f32> {
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
fn backward(pass: &Pass, window: &Window, ceiling: Option<f32>) -> [Vec<f32>; 3] {
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
