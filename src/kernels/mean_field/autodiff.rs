//! The mean field on tensors with gradients: no method learns through the CRF, its posterior is a constant.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};

use super::{Compatibility, MeanField};
use crate::kernels::lattice::Lattice;

impl<B: MeanField, C: CheckpointStrategy> MeanField for Autodiff<B, C> {
    fn mean_field(
        unary: FloatTensor<Self>,
        kernels: Vec<(Lattice, Compatibility)>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        Self::from_inner(B::mean_field(unary.into_primitive(), kernels, iterations))
    }
}
