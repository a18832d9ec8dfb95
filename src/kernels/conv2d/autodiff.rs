//! The gradients of dense convolution by input, kernel and bias, each only where somebody asks for it.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;

use super::{DenseConv2d, DenseConv2dBackward, Sliding};
use crate::kernels::autodiff::record;

/// Parents are input, kernel and, where there is one, bias.
#[derive(Debug)]
struct Step;

/// Input, kernel and how it moves.
type State<T> = ([T; 2], Sliding);

impl Step {
    fn pass<B: DenseConv2dBackward, const N: usize>(ops: Ops<State<FloatTensor<B>>, N>, grads: &mut Gradients) {
        let gradient = grads.consume::<B>(&ops.node);
        let ([input, kernel], sliding) = ops.state;
        for (i, parent) in ops.parents.into_iter().enumerate() {
            let Some(node) = parent else { continue };
            let (input, kernel, gradient) = (input.clone(), kernel.clone(), gradient.clone());
            let own = match i {
                0 => B::dense_conv2d_backward_input(input, kernel, gradient, sliding),
                1 => B::dense_conv2d_backward_kernel(input, kernel, gradient, sliding),
                _ => B::dense_conv2d_backward_bias(gradient),
            };
            grads.register::<B>(node.id, own);
        }
    }
}

impl<B: DenseConv2dBackward> Backward<B, 2> for Step {
    type State = State<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        Step::pass::<B, 2>(ops, grads);
    }
}

impl<B: DenseConv2dBackward> Backward<B, 3> for Step {
    type State = State<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        Step::pass::<B, 3>(ops, grads);
    }
}

impl<B: DenseConv2dBackward, C: CheckpointStrategy> DenseConv2d for Autodiff<B, C> {
    fn dense_conv2d(input: FloatTensor<Self>, kernel: FloatTensor<Self>, sliding: Sliding) -> FloatTensor<Self> {
        let (input, input_node) = input.into_parts();
        let (kernel, kernel_node) = kernel.into_parts();
        let saved = ([input.clone(), kernel.clone()], sliding);
        let out = B::dense_conv2d(input, kernel, sliding);
        record::<B, C, _, 2>(Step, [input_node, kernel_node], saved, out)
    }

    fn biased_dense_conv2d(
        input: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        sliding: Sliding,
    ) -> FloatTensor<Self> {
        let (input, input_node) = input.into_parts();
        let (kernel, kernel_node) = kernel.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let saved = ([input.clone(), kernel.clone()], sliding);
        let out = B::biased_dense_conv2d(input, kernel, bias, sliding);
        record::<B, C, _, 3>(Step, [input_node, kernel_node, bias_node], saved, out)
    }
}
