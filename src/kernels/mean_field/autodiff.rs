//! The mean field on tensors with gradients: no method learns through the CRF, its posterior is a constant.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};

use super::{Kernel, MeanField};

impl<B: MeanField, C: CheckpointStrategy> MeanField for Autodiff<B, C> {
    fn mean_field(unary: FloatTensor<Self>, kernels: Vec<Kernel>, iterations: usize) -> FloatTensor<Self> {
        Self::from_inner(B::mean_field(unary.into_primitive(), kernels, iterations))
    }

    fn mean_field_from(
        unary: FloatTensor<Self>,
        posterior: FloatTensor<Self>,
        kernels: Vec<Kernel>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        let (unary, posterior) = (unary.into_primitive(), posterior.into_primitive());
        Self::from_inner(B::mean_field_from(unary, posterior, kernels, iterations))
    }

    fn pairwise_energy(posterior: FloatTensor<Self>, kernels: Vec<Kernel>) -> FloatTensor<Self> {
        Self::from_inner(B::pairwise_energy(posterior.into_primitive(), kernels))
    }
}
