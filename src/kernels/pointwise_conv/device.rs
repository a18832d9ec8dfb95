//! Pointwise convolution on a device, by burn's own operations.

use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::tensor::Shape;
use burn::tensor::ops::ConvOptions;

use super::{PointwiseConv, PointwiseConvBackward};

impl PointwiseConv for CubeBackend {
    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        let out = Self::conv2d(input, kernel, Some(bias), options());
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
        let channels = kernel.meta.shape()[0];
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
        let d_input = Self::conv2d_x_backward(input.clone(), kernel.clone(), gradient.clone(), options());
        let d_kernel = Self::conv2d_weight_backward(input, kernel, gradient.clone(), options());
        let sums = Self::float_sum_dims(gradient, &[0, 2, 3]);
        let d_bias = Self::float_reshape(sums, Shape::from([channels]));
        (d_input, d_kernel, d_bias)
    }
}

fn options() -> ConvOptions<2> {
    ConvOptions::new([1, 1], [0, 0], [1, 1], 1)
}
