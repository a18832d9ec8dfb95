//! Depthwise convolution on a device: the shaders `depthwise_conv.wgsl`, `depthwise_conv_backward_input.wgsl` and
//! `depthwise_conv_backward_kernel.wgsl`.

use std::ops::Range;

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::Shape;

use super::{DepthwiseConv, DepthwiseConvBackward, Window};
use crate::kernels::launch::{self, Source, shader};

shader!(Forward, "depthwise_conv");
shader!(BackwardInput, "depthwise_conv_backward_input");
shader!(BackwardKernel, "depthwise_conv_backward_kernel");

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [Forward::sources(), BackwardInput::sources(), BackwardKernel::sources()].concat()
}

impl DepthwiseConv for CubeBackend {
    fn depthwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        let [input, kernel, bias] = [input, kernel, bias].map(into_contiguous);
        let [b, c, _, _] = input.meta.shape().dims();
        let [h, w] = window.output;
        let out = launch::empty_like(&input, [b, c, h, w]);
        let n = b * c * h * w;
        let buffers = vec![
            input.handle.clone(),
            kernel.handle.clone(),
            bias.handle.clone(),
            out.handle.clone(),
        ];
        let parameters = parameters(&input, &window, ceiling);
        launch::run_with(&input, Forward, n, buffers, &parameters);
        out
    }
}

impl DepthwiseConvBackward for CubeBackend {
    fn depthwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [input, kernel, output, gradient] = [input, kernel, output, gradient].map(into_contiguous);
        let shape: [usize; 4] = input.meta.shape().dims();
        let d_input = launch::empty_like(&input, shape);
        let n = shape.iter().product();
        let buffers = vec![
            kernel.handle.clone(),
            output.handle.clone(),
            gradient.handle.clone(),
            d_input.handle.clone(),
        ];
        let parameters = parameters(&input, &window, ceiling);
        launch::run_with(&input, BackwardInput, n, buffers, &parameters);
        let (d_kernel, d_bias) = backward_kernel(input, output, gradient, &window, ceiling);
        (d_input, d_kernel, d_bias)
    }
}

/// The gradients of kernel and bias, which are sums over the same entries.
fn backward_kernel(
    input: CubeTensor,
    output: CubeTensor,
    gradient: CubeTensor,
    window: &Window,
    ceiling: Option<f32>,
) -> (CubeTensor, CubeTensor) {
    let (c, k) = (input.meta.shape()[1], window.kernel);
    let entries = c * (k * k + 1);
    let sums = launch::empty_like(&input, [c, k * k + 1]);
    let buffers = vec![
        input.handle.clone(),
        output.handle.clone(),
        gradient.handle.clone(),
        sums.handle.clone(),
        launch::parameters(&input, entries, &parameters(&input, window, ceiling)),
    ];
    let most = launch::MAX_WORKGROUPS as usize;
    let groups = [entries.min(most), entries.div_ceil(most), 1];
    launch::run_groups(&input, BackwardKernel, launch::WORKGROUP, groups, buffers);
    let part = |entries: Range<usize>, shape: Shape| {
        let part = CubeBackend::float_slice(sums.clone(), &[(0..c).into(), entries.into()]);
        CubeBackend::float_reshape(part, shape)
    };
    (
        part(0..k * k, Shape::from([c, 1, k, k])),
        part(k * k..k * k + 1, Shape::from([c])),
    )
}

/// The parameters of all three shaders, for an `input` `[B, C, H, W]`.
fn parameters(input: &CubeTensor, window: &Window, ceiling: Option<f32>) -> Vec<u32> {
    let [batch, channels, _, _] = input.meta.shape().dims();
    let [[h, w], [out_h, out_w], [top, left]] = [window.input, window.output, window.before];
    let sizes = [
        channels,
        h,
        w,
        out_h,
        out_w,
        window.kernel,
        window.stride,
        window.dilation,
        top,
        left,
    ];
    let mut words = sizes.map(|size| size as u32).to_vec();
    words.extend([ceiling.unwrap_or(-1.0).to_bits(), batch as u32]);
    words
}
