//! Dense convolution on the CPU: the twin of `conv2d*.wgsl`. Windows are unrolled for a tile of pixels and a block of
//! channels at a time, into a buffer that stays in a core's cache, and multiplied by gemm.

mod products;
mod windows;

use burn::backend::Flex;
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;

use super::convolver::{Convolver, asked};
use super::{DenseConv2d, DenseConv2dBackward, Sizes, Sliding};
use crate::kernels::cpu::tensor;

impl DenseConv2d for Flex {
    fn dense_conv2d(input: FloatTensor<Self>, kernel: FloatTensor<Self>, sliding: Sliding) -> FloatTensor<Self> {
        forward(input, kernel, None, sliding)
    }

    fn biased_dense_conv2d(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        forward(input, kernel, Some(bias), sliding)
    }
}

fn forward(
    input: FloatTensor<Flex>,
    kernel: FloatTensor<Flex>,
    bias: Option<FloatTensor<Flex>>,
    sliding: Sliding,
) -> FloatTensor<Flex> {
    if asked() == Some(Convolver::Burn) {
        return Flex::conv2d(input, kernel, bias, sliding.options());
    }
    let sizes = sizes(&input, &kernel, sliding);
    let [input, kernel] = [input, kernel].map(|x| x.to_contiguous());
    let bias = bias.map(|bias| bias.to_contiguous());
    let bias = bias.as_ref().map(|bias| bias.storage::<f32>());
    let out = products::forward(&sizes, input.storage(), kernel.storage(), bias);
    tensor(out, sizes.output_shape())
}

impl DenseConv2dBackward for Flex {
    fn dense_conv2d_backward_input(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        if asked() == Some(Convolver::Burn) {
            return Flex::conv2d_x_backward(input, kernel, gradient, sliding.options());
        }
        let sizes = sizes(&input, &kernel, sliding);
        let [kernel, gradient] = [kernel, gradient].map(|x| x.to_contiguous());
        let d_input = products::backward_input(&sizes, kernel.storage(), gradient.storage());
        tensor(d_input, sizes.input_shape())
    }

    fn dense_conv2d_backward_kernel(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        if asked() == Some(Convolver::Burn) {
            return Flex::conv2d_weight_backward(input, kernel, gradient, sliding.options());
        }
        let sizes = sizes(&input, &kernel, sliding);
        let [input, gradient] = [input, gradient].map(|x| x.to_contiguous());
        let d_kernel = products::backward_kernel(&sizes, input.storage(), gradient.storage());
        tensor(d_kernel, sizes.kernel_shape())
    }

    fn dense_conv2d_backward_bias(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let [_, channels, h, w] = gradient.layout().shape().dims();
        let gradient = gradient.to_contiguous();
        let sums = products::backward_bias(gradient.storage(), channels, h * w);
        tensor(sums, [channels])
    }
}

fn sizes(input: &FloatTensor<Flex>, kernel: &FloatTensor<Flex>, sliding: Sliding) -> Sizes {
    let [input, kernel] = [input, kernel].map(|x| x.layout().shape().dims::<4>());
    Sizes::of(input, kernel, sliding)
}
