//! Pointwise convolution: a 1x1 convolution with bias and clamp, where nine tenths of EfficientNet's work is. On the CPU
//! bias and clamp are computed with the product, and the gradients are products too; burn's backend takes a pass over
//! memory for each, and a transposed convolution for the gradient. On a device it is made of burn's own operations, whose
//! 1x1 convolution is a product there.

use burn::backend::Autodiff;
use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Shape, Tensor};
use derive_new::new;

use super::{Kernels, launch};

/// The 1x1 convolution of `input` `[B, C, H, W]` with `kernel` `[O, C, 1, 1]`, plus `bias` `[O]`, clamped to [0, `ceiling`]
/// where there is one (ReLU6: 6) → `[B, O, H, W]`. With the gradients of all three.
///
/// # Panics
/// Where the shapes do not fit each other.
pub fn pointwise_conv(
    input: Tensor<4>,
    kernel: Tensor<4>,
    bias: Tensor<1>,
    ceiling: Option<f32>,
) -> Tensor<4> {
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

fn options() -> ConvOptions<2> {
    ConvOptions::new([1, 1], [0, 0], [1, 1], 1)
}

pub(super) fn on_device(
    input: CubeTensor,
    kernel: CubeTensor,
    bias: CubeTensor,
    ceiling: Option<f32>,
) -> CubeTensor {
    let out = CubeBackend::conv2d(input, kernel, Some(bias), options());
    match ceiling {
        Some(ceiling) => CubeBackend::float_clamp(out, 0.0.into(), ceiling.into()),
        None => out,
    }
}

pub(super) fn backward_on_device(
    [input, kernel, output]: Saved<CubeTensor>,
    gradient: CubeTensor,
    ceiling: Option<f32>,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let channels = kernel.meta.shape()[0];
    let gradient = match ceiling {
        Some(ceiling) => {
            // Outputs are within [0, ceiling], so that this is 1 between and 0 on either end.
            let above = CubeBackend::float_sign(output.clone());
            let room = CubeBackend::float_mul_scalar(output, (-1.0).into());
            let below =
                CubeBackend::float_sign(CubeBackend::float_add_scalar(room, ceiling.into()));
            CubeBackend::float_mul(gradient, CubeBackend::float_mul(above, below))
        }
        None => gradient,
    };
    let d_input =
        CubeBackend::conv2d_x_backward(input.clone(), kernel.clone(), gradient.clone(), options());
    let d_kernel = CubeBackend::conv2d_weight_backward(input, kernel, gradient.clone(), options());
    let sums = CubeBackend::float_sum_dims(gradient, &[0, 2, 3]);
    let d_bias = CubeBackend::float_reshape(sums, Shape::from([channels]));
    (d_input, d_kernel, d_bias)
}

/// What a backward pass needs: input, kernel, output.
pub(super) type Saved<T> = [T; 3];

#[derive(new, Debug)]
struct Step;

impl<B: Kernels> Backward<B, 3> for Step {
    type State = (Saved<FloatTensor<B>>, Option<f32>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if ops.parents.iter().all(Option::is_none) {
            return;
        }
        let ([input, kernel, output], ceiling) = ops.state;
        let (d_input, d_kernel, d_bias) =
            B::pointwise_conv_backward(input, kernel, output, gradient, ceiling);
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
    ceiling: Option<f32>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [input.node(), kernel.node(), bias.node()];
    let (input, kernel) = (input.into_primitive(), kernel.into_primitive());
    let out = B::pointwise_conv(
        input.clone(),
        kernel.clone(),
        bias.into_primitive(),
        ceiling,
    );
    match Step::new().prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(([input, kernel, out.clone()], ceiling), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }
}
