//! Depthwise convolution: every channel with its own kernel (MobileNet and EfficientNet), with bias and clamp. burn's CPU
//! backend convolves channel by channel in the gradient of the kernel, and takes a pass each for bias and clamp.

use burn::backend::Autodiff;
use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::tensor::{Shape, Tensor};
use cubecl::server::Handle;
use derive_new::new;

use super::Kernels;
use super::launch::{self, shader};
use super::sources::Source;

shader!(
    DepthwiseConv,
    DepthwiseConvSource,
    "../../shaders/depthwise_conv.wgsl"
);
shader!(
    BackwardInput,
    BackwardInputSource,
    "../../shaders/depthwise_conv_backward_input.wgsl"
);
shader!(
    BackwardKernel,
    BackwardKernelSource,
    "../../shaders/depthwise_conv_backward_kernel.wgsl"
);

/// Where a convolution's windows lie on an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the square kernel, entries; at least 1.
    pub kernel: usize,
    /// Pixels between two windows; at least 1.
    pub stride: usize,
    /// Pixels between two entries of the kernel; at least 1.
    pub dilation: usize,
    /// Rows and columns of the image.
    pub input: [usize; 2],
    /// Rows of zeros above of the image, columns of zeros left of it. Below and right are as many as the output needs.
    pub before: [usize; 2],
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

impl Window {
    /// TensorFlow's `SAME` padding: an output of ⌈input / stride⌉, and the zeros that it needs half before and half behind
    /// the image, the odd one behind.
    pub fn same(input: [usize; 2], kernel: usize, stride: usize, dilation: usize) -> Window {
        let output = input.map(|side| side.div_ceil(stride));
        let reach = (kernel - 1) * dilation + 1;
        let needed = |i: usize| (output[i].saturating_sub(1)) * stride + reach;
        Window {
            kernel,
            stride,
            dilation,
            input,
            before: [0, 1].map(|i| needed(i).saturating_sub(input[i]) / 2),
            output,
        }
    }

    /// Zeros before and behind the image's rows, and its columns.
    pub fn padding(&self) -> [[usize; 2]; 2] {
        let reach = (self.kernel - 1) * self.dilation + 1;
        [0, 1].map(|i| {
            let seen = self.output[i].saturating_sub(1) * self.stride + reach;
            [
                self.before[i],
                seen.saturating_sub(self.before[i] + self.input[i]),
            ]
        })
    }
}

/// The convolution of every channel of `input` `[B, C, H, W]` with its own of `kernel` `[C, 1, k, k]` in the `window`,
/// plus `bias` `[C]`, clamped to [0, `ceiling`] where there is one (ReLU6: 6) → `[B, C, h, w]`. With the gradients of all
/// three.
///
/// # Panics
/// Where the shapes, or the window, do not fit each other.
pub fn depthwise_conv(
    input: Tensor<4>,
    kernel: Tensor<4>,
    bias: Tensor<1>,
    window: Window,
    ceiling: Option<f32>,
) -> Tensor<4> {
    let [_, c, h, w] = input.dims();
    let k = window.kernel;
    assert_eq!(
        kernel.dims(),
        [c, 1, k, k],
        "kernel of a depthwise convolution"
    );
    assert_eq!(bias.dims(), [c], "bias of a depthwise convolution");
    assert_eq!([h, w], window.input, "image of a depthwise convolution");
    Tensor::from_dispatch(Dispatch::depthwise_conv(
        input.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        window,
        ceiling,
    ))
}

/// All sources that may be launched.
pub(super) fn sources() -> Vec<Source> {
    [
        DepthwiseConv::sources(),
        BackwardInput::sources(),
        BackwardKernel::sources(),
    ]
    .concat()
}

/// The parameters of a launch over `count` entries or workgroups.
fn parameters(
    like: &CubeTensor,
    count: usize,
    [batch, channels]: [usize; 2],
    window: &Window,
    ceiling: Option<f32>,
) -> Handle {
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
    launch::parameters(like, count, &words)
}

pub(super) fn launch_forward(
    input: CubeTensor,
    kernel: CubeTensor,
    bias: CubeTensor,
    window: &Window,
    ceiling: Option<f32>,
) -> CubeTensor {
    let [input, kernel, bias] = [input, kernel, bias].map(into_contiguous);
    let [b, c, _, _] = launch::dims(input.meta.shape());
    let [h, w] = window.output;
    let out = launch::empty_like(&input, [b, c, h, w]);
    let n = b * c * h * w;
    let buffers = vec![
        input.handle.clone(),
        kernel.handle.clone(),
        bias.handle.clone(),
        out.handle.clone(),
        parameters(&input, n, [b, c], window, ceiling),
    ];
    launch::run(&input, DepthwiseConv, n, buffers);
    out
}

pub(super) fn launch_backward(
    saved: Saved<CubeTensor>,
    gradient: CubeTensor,
    window: &Window,
    ceiling: Option<f32>,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [input, kernel, output] = saved.map(into_contiguous);
    let gradient = into_contiguous(gradient);
    let [b, c, h, w] = launch::dims(input.meta.shape());
    let d_input = launch::empty_like(&input, [b, c, h, w]);
    let n = b * c * h * w;
    let buffers = vec![
        kernel.handle.clone(),
        output.handle.clone(),
        gradient.handle.clone(),
        d_input.handle.clone(),
        parameters(&input, n, [b, c], window, ceiling),
    ];
    launch::run(&input, BackwardInput, n, buffers);
    let k = window.kernel;
    let entries = c * (k * k + 1);
    let sums = launch::empty_like(&input, [c, k * k + 1]);
    let buffers = vec![
        input.handle.clone(),
        output.handle.clone(),
        gradient.handle.clone(),
        sums.handle.clone(),
        parameters(&input, entries, [b, c], window, ceiling),
    ];
    let most = launch::MAX_WORKGROUPS as usize;
    let groups = [entries.min(most), entries.div_ceil(most), 1];
    launch::run_groups(&input, BackwardKernel, launch::WORKGROUP, groups, buffers);
    let part = |entries: std::ops::Range<usize>, shape: Shape| {
        let part = CubeBackend::float_slice(sums.clone(), &[(0..c).into(), entries.into()]);
        CubeBackend::float_reshape(part, shape)
    };
    let d_kernel = part(0..k * k, Shape::from([c, 1, k, k]));
    let d_bias = part(k * k..k * k + 1, Shape::from([c]));
    (d_input, d_kernel, d_bias)
}

/// What a backward pass needs: input, kernel, output.
pub(super) type Saved<T> = [T; 3];

#[derive(new, Debug)]
struct Step;

impl<B: Kernels> Backward<B, 3> for Step {
    type State = (Saved<FloatTensor<B>>, Window, Option<f32>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if ops.parents.iter().all(Option::is_none) {
            return;
        }
        let ([input, kernel, output], window, ceiling) = ops.state;
        let (d_input, d_kernel, d_bias) =
            B::depthwise_conv_backward(input, kernel, output, gradient, window, ceiling);
        launch::register::<B, 3>(
            grads,
            ops.parents.map(|p| Some(p?.id)),
            [d_input, d_kernel, d_bias],
        );
    }
}

pub(super) fn autodiff<B: Kernels, C: CheckpointStrategy>(
    input: FloatTensor<Autodiff<B, C>>,
    kernel: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
    window: Window,
    ceiling: Option<f32>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [input.node(), kernel.node(), bias.node()];
    let (input, kernel) = (input.into_primitive(), kernel.into_primitive());
    let out = B::depthwise_conv(
        input.clone(),
        kernel.clone(),
        bias.into_primitive(),
        window,
        ceiling,
    );
    match Step::new().prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(([input, kernel, out.clone()], window, ceiling), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_tensorflows() {
        // 5 pixels by 3 at stride 2: three windows of 7 pixels in all, a zero on either side.
        let window = Window::same([5, 6], 3, 2, 1);
        assert_eq!((window.output, window.before), ([3, 3], [1, 0]));
        // Dilated by 4, a kernel of 5 reaches 17 pixels.
        let window = Window::same([9, 9], 5, 1, 4);
        assert_eq!((window.output, window.before), ([9, 9], [8, 8]));
        assert_eq!(Window::same([8, 1], 3, 2, 1).before, [0, 1]);
    }
}
