//! Pointwise convolution on a device: a dense one, by whom it is fastest, and burn's own operations around it.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;

use super::{PointwiseConv, PointwiseConvBackward};
use crate::kernels::conv2d::{DenseConv2d, DenseConv2dBackward, Sliding};

impl PointwiseConv for CubeBackend {
    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        let out = Self::biased_dense_conv2d(input, kernel, bias, plain());
        match ceiling {
            Some(ceiling) => Self::float_clamp(out, 0.0.into(), ceiling.into()),
            None => out,
        }
    }
}

impl PointwiseConvBackward for CubeBackend {
    fn pointwise_conv_backward(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let gradient = match ceiling {
            Some(ceiling) => {
                // Outputs are within [0, ceiling], so that this is 1 between and 0 on either end.
                let above = Self::float_sign(output.clone());
                let room = Self::float_mul_scalar(output, (-1.0).into());
                let below = Self::float_sign(Self::float_add_scalar(room, ceiling.into()));
                Self::float_mul(gradient, Self::float_mul(above, below))
            }
            None => gradient,
        };
        let d_input = Self::dense_conv2d_backward_input(input.clone(), kernel.clone(), gradient.clone(), plain());
        let d_kernel = Self::dense_conv2d_backward_kernel(input, kernel, gradient.clone(), plain());
        (d_input, d_kernel, Self::dense_conv2d_backward_bias(gradient))
    }
}

fn plain() -> Sliding {
    Sliding::square(1, 0, 1)
}
