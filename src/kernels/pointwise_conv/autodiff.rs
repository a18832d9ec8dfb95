//! The gradients of pointwise convolution by input, kernel and bias.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;

use super::{PointwiseConv, PointwiseConvBackward};
use crate::kernels::autodiff::{pass_on, record};
use crate::kernels::convolution::Saved;

#[derive(Debug)]
struct Step;

impl<B: PointwiseConvBackward> Backward<B, 3> for Step {
    /// What was saved, and the ceiling.
    type State = (Saved<FloatTensor<B>>, Option<f32>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        pass_on::<B, _, 3>(ops, grads, |(saved, ceiling), gradient| {
            let [input, kernel, output] = saved;
            B::pointwise_conv_backward(input, kernel, output, gradient, ceiling).into()
        });
    }
}

impl<B: PointwiseConvBackward, C: CheckpointStrategy> PointwiseConv for Autodiff<B, C> {
    fn pointwise_conv(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        ceiling: Option<f32>,
    ) -> FloatTensor<Self> {
        let (input, input_node) = input.into_parts();
        let (kernel, kernel_node) = kernel.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let out = B::pointwise_conv(input.clone(), kernel.clone(), bias, ceiling);
        let nodes = [input_node, kernel_node, bias_node];
        record::<B, C, _, _>(Step, nodes, ([input, kernel, out.clone()], ceiling), out)
    }
}
