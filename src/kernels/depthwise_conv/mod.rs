//! Depthwise convolution: every channel with its own kernel (MobileNet and EfficientNet), with bias and clamp. burn's CPU
//! backend convolves channel by channel in the gradient of the kernel, and takes a pass each for bias and clamp.

mod autodiff;
mod cpu;
mod device;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::Tensor;

pub(super) use device::sources;

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
            [self.before[i], seen.saturating_sub(self.before[i] + self.input[i])]
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
    assert_eq!(kernel.dims(), [c, 1, k, k], "kernel of a depthwise convolution");
    assert_eq!(bias.dims(), [c], "bias of a depthwise convolution");
    assert_eq!([h, w], window.input, "image of a depthwise convolution");
    let least = k.min(window.stride).min(window.dilation);
    assert!(least > 0, "a window without a step or an entry: {window:?}");
    Tensor::from_dispatch(Dispatch::depthwise_conv(
        input.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        window,
        ceiling,
    ))
}

/// [`depthwise_conv()`] on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait DepthwiseConv: burn::backend::Backend {
    /// Input `[B, C, H, W]`, kernel `[C, 1, k, k]`, bias `[C]` → `[B, C, h, w]`.
    fn depthwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self>;
}

/// The gradients of [`DepthwiseConv`] on a backend's own tensors. `Autodiff` itself has none: no method takes second
/// derivatives.
pub trait DepthwiseConvBackward: DepthwiseConv {
    /// Input, kernel and output of [`DepthwiseConv::depthwise_conv`] and the gradient of the output → the gradients of
    /// input, kernel and bias.
    fn depthwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        window: Window,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
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

    #[test]
    #[should_panic(expected = "a window without a step")]
    fn a_window_that_does_not_move_is_refused() {
        let device = burn::tensor::Device::flex();
        let window = Window {
            stride: 0,
            ..Window::same([4, 4], 3, 1, 1)
        };
        let [image, kernel] = [4, 3].map(|side| Tensor::<4>::ones([1, 1, side, side], &device));
        depthwise_conv(image, kernel, Tensor::ones([1], &device), window, None);
    }
}
