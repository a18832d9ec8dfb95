//! The gradient of pair affinity by the features.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;

use super::{PairAffinity, PairAffinityBackward};
use crate::kernels::autodiff::{pass_on, record};

#[derive(Debug)]
struct Step;

impl<B: PairAffinityBackward> Backward<B, 1> for Step {
    /// Features, affinities, radius and scale.
    type State = (FloatTensor<B>, FloatTensor<B>, usize, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        pass_on::<B, _, 1>(ops, grads, |(features, affinity, radius, scale), gradient| {
            // dW/d(distance) = -W, and the distance is scale times the sum of absolute differences.
            let slope = B::float_mul_scalar(B::float_mul(gradient, affinity), (-scale).into());
            [B::pair_affinity_backward(features, slope, radius)]
        });
    }
}

impl<B: PairAffinityBackward, C: CheckpointStrategy> PairAffinity for Autodiff<B, C> {
    fn pair_affinity(features: FloatTensor<Self>, radius: usize, scale: f32) -> FloatTensor<Self> {
        let (features, node) = features.into_parts();
        let affinity = B::pair_affinity(features.clone(), radius, scale);
        let state = (features, affinity.clone(), radius, scale);
        record::<B, C, _, _>(Step, [node], state, affinity)
    }
}
