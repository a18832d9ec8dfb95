//! The gradient of the random walk by the scores.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;

use super::RandomWalk;
use crate::kernels::autodiff::{pass_on, record};

#[derive(Debug)]
struct Step;

impl<B: RandomWalk> Backward<B, 1> for Step {
    /// Weights, normaliser, radius and number of steps.
    type State = (FloatTensor<B>, FloatTensor<B>, usize, usize);

    /// With N the normaliser, (N W)ᵗ transposed is (W N)ᵗ = N⁻¹ (N W)ᵗ N, as W is symmetric: the same walk.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        pass_on::<B, _, 1>(ops, grads, |(weights, normaliser, radius, steps), gradient| {
            let scaled = B::float_mul(gradient, normaliser.clone());
            let walked = B::random_walk(weights, scaled, normaliser.clone(), radius, steps);
            [B::float_div(walked, normaliser)]
        });
    }
}

impl<B: RandomWalk, C: CheckpointStrategy> RandomWalk for Autodiff<B, C> {
    fn random_walk(
        weights: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        normaliser: FloatTensor<Self>,
        radius: usize,
        steps: usize,
    ) -> FloatTensor<Self> {
        let (weights, normaliser) = (weights.into_primitive(), normaliser.into_primitive());
        let (scores, node) = scores.into_parts();
        let out = B::random_walk(weights.clone(), scores, normaliser.clone(), radius, steps);
        record::<B, C, _, _>(Step, [node], (weights, normaliser, radius, steps), out)
    }
}
