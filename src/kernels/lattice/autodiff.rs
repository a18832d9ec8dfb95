//! The gradient of the lattice's filter by the values.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::tensor::FloatTensor;

use super::{Lattice, PermutohedralLattice};
use crate::kernels::autodiff::{pass_on, record};
use crate::kernels::error::Error;

#[derive(Debug)]
struct Step;

impl<B: PermutohedralLattice> Backward<B, 1> for Step {
    /// The lattice, and whether the filter was reversed.
    type State = (Lattice, bool);

    /// The transpose of splat, blurs and slice is the same with the blurs in the opposite order.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        pass_on::<B, _, 1>(ops, grads, |(lattice, reversed), gradient| {
            [B::lattice_filter(gradient, lattice, !reversed)]
        });
    }
}

impl<B: PermutohedralLattice, C: CheckpointStrategy> PermutohedralLattice for Autodiff<B, C> {
    fn lattice(features: FloatTensor<Self>, slots: Option<usize>) -> Result<Lattice, Error> {
        B::lattice(features.into_primitive(), slots)
    }

    fn lattice_filter(values: FloatTensor<Self>, lattice: Lattice, reversed: bool) -> FloatTensor<Self> {
        let (values, node) = values.into_parts();
        let out = B::lattice_filter(values, lattice.clone(), reversed);
        record::<B, C, _, _>(Step, [node], (lattice, reversed), out)
    }
}
