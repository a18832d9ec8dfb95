//! Dense convolution: any kernel, stride, padding, dilation and number of groups, with the gradients of input, kernel and
//! bias. On a device it is a product of matrices one of which is never in memory (implicit GEMM), in WGSL of our own: burn
//! has one usable forward candidate where shaders are WGSL, its direct kernel. Which of the two computes a shape is chosen
//! in `device/choice`. Depthwise convolution is an operator apart, [`depthwise_conv()`](super::depthwise_conv()).

mod autodiff;
mod convolver;
mod cpu;
mod device;
#[cfg(test)]
mod tests;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;

pub use convolver::{Convolver, Design, convolve_by};
pub(super) use device::sources;

/// How a kernel moves over an image; rows first in every pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sliding {
    /// Pixels between two windows; at least 1.
    pub stride: [usize; 2],
    /// Rows of zeros above and below of the image, columns of zeros left and right of it.
    pub padding: [usize; 2],
    /// Pixels between two entries of the kernel; at least 1.
    pub dilation: [usize; 2],
    /// Parts of the channels that are convolved apart; it divides input and output channels.
    pub groups: usize,
}

impl Sliding {
    /// The same for rows and columns, in one group.
    pub fn square(stride: usize, padding: usize, dilation: usize) -> Sliding {
        Sliding {
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [dilation; 2],
            groups: 1,
        }
    }

    /// As burn says it.
    fn options(self) -> ConvOptions<2> {
        ConvOptions::new(self.stride, self.padding, self.dilation, self.groups)
    }
}

/// All sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sizes {
    /// B.
    images: usize,
    /// G.
    groups: usize,
    /// Input channels of a group, C / G.
    inputs: usize,
    /// Output channels of a group, O / G.
    outputs: usize,
    /// H, W.
    image: [usize; 2],
    /// k, l: sides of the kernel.
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    /// h, w: ⌊(H + 2 padding - dilation (k - 1) - 1) / stride⌋ + 1.
    out: [usize; 2],
}

impl Sizes {
    /// Of an input `[B, C, H, W]` and a kernel `[O, C / G, k, l]`.
    ///
    /// # Panics
    /// Where they do not fit each other.
    fn of(input: [usize; 4], kernel: [usize; 4], sliding: Sliding) -> Sizes {
        let Sliding {
            stride,
            padding,
            dilation,
            groups,
        } = sliding;
        let [images, c, h, w] = input;
        let [o, inputs, rows, columns] = kernel;
        let least = stride.into_iter().chain(dilation).chain([groups, rows, columns]).min();
        assert!(
            least > Some(0),
            "a convolution without a step, a group or an entry: {sliding:?}"
        );
        assert_eq!(
            c,
            inputs * groups,
            "input channels of a convolution with {groups} groups"
        );
        assert_eq!(o % groups, 0, "output channels of a convolution with {groups} groups");
        let (image, kernel) = ([h, w], [rows, columns]);
        let out = [0, 1].map(|i| {
            let reach = dilation[i] * (kernel[i] - 1) + 1;
            let room = image[i] + 2 * padding[i];
            assert!(
                room >= reach,
                "an image of {h} x {w} is smaller than the kernel: {sliding:?}"
            );
            (room - reach) / stride[i] + 1
        });
        Sizes {
            images,
            groups,
            inputs,
            outputs: o / groups,
            image,
            kernel,
            stride,
            padding,
            dilation,
            out,
        }
    }

    fn input_shape(&self) -> [usize; 4] {
        let [h, w] = self.image;
        [self.images, self.groups * self.inputs, h, w]
    }

    fn kernel_shape(&self) -> [usize; 4] {
        let [k, l] = self.kernel;
        [self.groups * self.outputs, self.inputs, k, l]
    }

    fn output_shape(&self) -> [usize; 4] {
        let [h, w] = self.out;
        [self.images, self.groups * self.outputs, h, w]
    }
}

/// The convolution of `input` `[B, C, H, W]` with `kernel` `[O, C / G, k, l]`, plus `bias` `[O]` where there is one →
/// `[B, O, h, w]`:
///
/// out[o, y, x] = bias[o] + Σ kernel[o, c, i, j] input[c, y s + i d - p, x s + j d - p]
///
/// over the channels c of o's group and all i, j, for stride s, dilation d and padding p, the input being zero beyond its
/// rim. With the gradients of all three, of which only those are computed that are asked for.
///
/// # Panics
/// Where the shapes do not fit each other.
pub fn conv2d(input: Tensor<4>, kernel: Tensor<4>, bias: Option<Tensor<1>>, sliding: Sliding) -> Tensor<4> {
    let sizes = Sizes::of(input.dims(), kernel.dims(), sliding);
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [sizes.groups * sizes.outputs], "bias of a convolution");
    }
    let (input, kernel) = (input.into_dispatch(), kernel.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::biased_dense_conv2d(input, kernel, bias.into_dispatch(), sliding),
        None => Dispatch::dense_conv2d(input, kernel, sliding),
    })
}

/// [`conv2d()`] on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait DenseConv2d: burn::backend::Backend {
    /// Input `[B, C, H, W]`, kernel `[O, C / G, k, l]` → `[B, O, h, w]`.
    fn dense_conv2d(input: FloatTensor<Self>, kernel: FloatTensor<Self>, sliding: Sliding) -> FloatTensor<Self>;

    /// The same plus bias `[O]`.
    fn biased_dense_conv2d(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self>;
}

/// The gradients of [`DenseConv2d`] on a backend's own tensors, one by one: a layer that does not train needs none of its
/// kernel. `Autodiff` itself has none: no method takes second derivatives.
pub trait DenseConv2dBackward: DenseConv2d {
    /// Input, kernel and the gradient of the output `[B, O, h, w]` → the gradient of the input.
    fn dense_conv2d_backward_input(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self>;

    /// The same → the gradient of the kernel.
    fn dense_conv2d_backward_kernel(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self>;

    /// The gradient of the output `[B, O, h, w]` → that of the bias `[O]`.
    fn dense_conv2d_backward_bias(gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}
