//! Mean-field inference of the fully connected CRF (Krähenbühl and Koltun 2011, "Efficient Inference in Fully Connected
//! CRFs with Gaussian Edge Potentials", Alg. 1) on permutohedral lattices.

mod autodiff;
mod cpu;
mod device;
#[cfg(test)]
mod tests;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::lattice::Lattice;

pub(super) use device::sources;

/// The label compatibility μ of a kernel. Both forms are pydensecrf's `compat=`.
#[derive(Clone, Debug, PartialEq)]
pub enum Compatibility {
    /// A number w: the message times w is added to the logits, so that equal labels attract each other. The paper's
    /// w [l ≠ l'] differs from it only by a number that all labels of a pixel share.
    Potts(f32),
    /// A matrix M, row-major `[C, C]`, of costs: S · message is subtracted from the logits, where S = (M + Mᵀ) / 2, as
    /// pydensecrf symmetrises it. `Potts(w)` is the matrix with -w on its diagonal.
    Matrix(Vec<f32>),
}

/// Posterior `[C, N]` of the labels of N pixels after `iterations` updates, from `unary` `[C, N]`, negative log
/// probabilities.
///
/// Each update is softmax(-unary - Σ compatibility · (normaliser · filter(normaliser · posterior))) over the pairwise
/// `kernels`: symmetric normalisation, as pydensecrf's default. Without iterations or kernels it is softmax(-unary).
/// Takes no gradient.
///
/// # Panics
/// Where a lattice is of another number of pixels or on another device than the unary, or a matrix is not `[C, C]`.
pub fn mean_field(unary: Tensor<2>, kernels: &[(Lattice, Compatibility)], iterations: usize) -> Tensor<2> {
    let [c, n] = unary.dims();
    for (lattice, compatibility) in kernels {
        assert_eq!(lattice.pixels(), n, "pixels of unary and lattice");
        if let Compatibility::Matrix(matrix) = compatibility {
            assert_eq!(matrix.len(), c * c, "size of the label compatibility");
        }
    }
    Tensor::from_dispatch(Dispatch::mean_field(
        unary.into_dispatch(),
        kernels.to_vec(),
        iterations,
    ))
}

/// [`mean_field()`] on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait MeanField: burn::backend::Backend {
    /// Unary `[C, N]` → posterior `[C, N]`.
    fn mean_field(
        unary: FloatTensor<Self>,
        kernels: Vec<(Lattice, Compatibility)>,
        iterations: usize,
    ) -> FloatTensor<Self>;
}
