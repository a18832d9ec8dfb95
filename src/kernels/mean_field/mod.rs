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

use super::lattice::{Lattice, Normalisation};

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

/// A pairwise kernel: a Gaussian over features, and what it does to labels.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The filter.
    pub lattice: Lattice,
    /// What labels cost one another.
    pub compatibility: Compatibility,
    /// What messages are divided by.
    pub normalisation: Normalisation,
}

impl Kernel {
    /// Normalised symmetrically, as pydensecrf's are where nothing else is asked for.
    pub fn new(lattice: Lattice, compatibility: Compatibility) -> Kernel {
        Kernel {
            lattice,
            compatibility,
            normalisation: Normalisation::Symmetric,
        }
    }
}

/// Posterior `[C, N]` of the labels of N pixels after `iterations` updates, from `unary` `[C, N]`, negative log
/// probabilities.
///
/// Each update is softmax(-unary - [`pairwise_energy()`] of the posterior). Without iterations or kernels the posterior
/// is softmax(-unary). Takes no gradient.
///
/// # Panics
/// Where a lattice is of another number of pixels or on another device than the unary, or a matrix is not `[C, C]`.
pub fn mean_field(unary: Tensor<2>, kernels: &[Kernel], iterations: usize) -> Tensor<2> {
    check(&unary, kernels);
    Tensor::from_dispatch(Dispatch::mean_field(
        unary.into_dispatch(),
        kernels.to_vec(),
        iterations,
    ))
}

/// [`mean_field()`] that goes on from a `posterior` `[C, N]` in place of softmax(-unary): n iterations after m others give
/// the bits of n + m.
///
/// # Panics
/// As [`mean_field()`], and where the posterior has another shape than the unary.
pub fn mean_field_from(unary: Tensor<2>, posterior: Tensor<2>, kernels: &[Kernel], iterations: usize) -> Tensor<2> {
    check(&unary, kernels);
    assert_eq!(unary.dims(), posterior.dims(), "shapes of unary and posterior");
    Tensor::from_dispatch(Dispatch::mean_field_from(
        unary.into_dispatch(),
        posterior.into_dispatch(),
        kernels.to_vec(),
        iterations,
    ))
}

/// What every label of every pixel pays `[C, N]` for a `posterior` `[C, N]`: the sum over the kernels of
/// compatibility · (factor · filter(factor · posterior)), where the normalisation says which factors there are. Takes no
/// gradient.
///
/// # Panics
/// As [`mean_field()`].
pub fn pairwise_energy(posterior: Tensor<2>, kernels: &[Kernel]) -> Tensor<2> {
    check(&posterior, kernels);
    Tensor::from_dispatch(Dispatch::pairwise_energy(posterior.into_dispatch(), kernels.to_vec()))
}

/// Panics where `kernels` are not of the labels and pixels of `values` `[C, N]`.
fn check(values: &Tensor<2>, kernels: &[Kernel]) {
    let [c, n] = values.dims();
    for kernel in kernels {
        assert_eq!(kernel.lattice.pixels(), n, "pixels of unary and lattice");
        if let Compatibility::Matrix(matrix) = &kernel.compatibility {
            assert_eq!(matrix.len(), c * c, "size of the label compatibility");
        }
    }
}

/// The mean field on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait MeanField: burn::backend::Backend {
    /// Unary `[C, N]` → posterior `[C, N]`; see [`mean_field()`].
    fn mean_field(unary: FloatTensor<Self>, kernels: Vec<Kernel>, iterations: usize) -> FloatTensor<Self>;

    /// Unary and posterior `[C, N]` → posterior `[C, N]`; see [`mean_field_from()`].
    fn mean_field_from(
        unary: FloatTensor<Self>,
        posterior: FloatTensor<Self>,
        kernels: Vec<Kernel>,
        iterations: usize,
    ) -> FloatTensor<Self>;

    /// Posterior `[C, N]` → energies `[C, N]`; see [`pairwise_energy()`].
    fn pairwise_energy(posterior: FloatTensor<Self>, kernels: Vec<Kernel>) -> FloatTensor<Self>;
}
