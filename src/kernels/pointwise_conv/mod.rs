//! Pointwise convolution: a 1x1 convolution with bias and clamp, where nine tenths of EfficientNet's work is. On the CPU
//! bias and clamp are computed with the product, and the gradients are products too; burn's backend takes a pass over
//! memory for each, and a transposed convolution for the gradient. On a device it is a dense convolution, by whom that is
//! fastest, and a clamp.

mod autodiff;
mod cpu;
mod device;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::Tensor;

/// The 1x1 convolution of `input` `[B, C, H, W]` with `kernel` `[O, C, 1, 1]`, plus `bias` `[O]`, clamped to [0, `ceiling`]
/// where there is one (ReLU6: 6) → `[B, O, H, W]`. With the gradients of all three.
///
/// # Panics
/// Where the shapes do not fit each other.
pub fn pointwise_conv(input: Tensor<4>, kernel: Tensor<4>, bias: Tensor<1>, ceiling: Option<f32>) -> Tensor<4> {
    let [o, c, _, _] = kernel.dims();
    assert_eq!(kernel.dims(), [o, c, 1, 1], "kernel of a 1x1 convolution");
    assert_eq!(bias.dims(), [o], "bias of a 1x1 convolution");
    assert_eq!(input.dims()[1], c, "channels of a 1x1 convolution");
    Tensor::from_dispatch(Dispatch::pointwise_conv(
        input.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        ceiling,
    ))
}

/// [`pointwise_conv()`] on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait PointwiseConv: burn::backend::Backend {
    /// Input `[B, C, H, W]`, kernel `[O, C, 1, 1]`, bias `[O]` → `[B, O, H, W]`.
    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self>;
}

/// The gradients of [`PointwiseConv`] on a backend's own tensors. `Autodiff` itself has none: no method takes second
/// derivatives.
pub trait PointwiseConvBackward: PointwiseConv {
    /// Input, kernel and output of [`PointwiseConv::pointwise_conv`] and the gradient of the output → the gradients of
    /// input, kernel and bias.
    fn pointwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}
