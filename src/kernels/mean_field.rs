//! Mean-field inference of the fully connected CRF (Krähenbühl and Koltun 2011, Alg. 1) on permutohedral lattices.

use burn::backend::Dispatch;
use burn::backend::wgpu::{CubeTensor, into_contiguous};
use burn::tensor::Tensor;
use cubecl::server::Handle;
use derive_new::new;

use super::cpu::mean_field::Compatibility;
use super::lattice::Pass;
use super::launch::{self, shader};
use super::sources::Source;
use super::{Kernels, Lattice};

shader!(MeanField, MeanFieldSource, "../../shaders/mean_field.wgsl");

/// Posterior `[C, N]` of the labels of N pixels after `iterations` updates, from `unary` `[C, N]`, negative log
/// probabilities.
///
/// Each update is softmax(-unary - Σ compatibility · (normaliser · filter(normaliser · posterior))) over the pairwise
/// `kernels`: symmetric normalisation, as pydensecrf's default. Without iterations or kernels it is softmax(-unary).
/// Takes no gradient.
///
/// # Panics
/// Where a lattice is of another number of pixels or on another device than the unary, or a matrix is not `[C, C]`.
pub fn mean_field(
    unary: Tensor<2>,
    kernels: &[(Lattice, Compatibility)],
    iterations: usize,
) -> Tensor<2> {
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

/// All sources that may be launched.
pub(super) fn sources() -> Vec<Source> {
    MeanField::sources()
}

pub(super) fn launch(
    unary: CubeTensor,
    kernels: &[(Lattice, Compatibility)],
    iterations: usize,
) -> CubeTensor {
    let unary = into_contiguous(unary);
    let (c, n) = (unary.meta.shape()[0], unary.meta.shape()[1]);
    let posterior = launch::empty_like(&unary, [c, n]);
    let messages = launch::empty_like(&unary, [kernels.len().max(1), c, n]);
    let mut sizes = vec![c as u32, kernels.len() as u32];
    let mut table = Vec::new();
    for (_, compatibility) in kernels {
        let start = 2 * table.len() as u32;
        match compatibility {
            Compatibility::Potts(weight) => {
                sizes.push(start);
                table.push(*weight);
            }
            Compatibility::Matrix(matrix) => {
                sizes.push(start + 1);
                // pydensecrf's matrices are made symmetric.
                table.extend((0..c * c).map(|i| {
                    let transposed = matrix[i % c * c + i / c];
                    0.5 * (matrix[i] + transposed)
                }));
            }
        }
    }
    if table.is_empty() {
        // A storage buffer must not be empty.
        table.push(0.0);
    }
    let table = unary.client.create_from_slice(bytemuck::cast_slice(&table));
    let update = |parameters: &Handle| {
        launch::run(
            &unary,
            MeanField,
            n,
            vec![
                unary.handle.clone(),
                messages.handle.clone(),
                table.clone(),
                posterior.handle.clone(),
                parameters.clone(),
            ],
        );
    };
    update(&launch::parameters(&unary, n, &[c as u32, 0]));
    let one = unary.client.create_from_slice(&1f32.to_ne_bytes());
    let parameters = launch::parameters(&unary, n, &sizes);
    let lattices = kernels.iter().map(|(lattice, _)| lattice.cube());
    let work: Vec<_> = lattices
        .enumerate()
        .map(|(k, lattice)| (lattice, lattice.workspace(c, k * c * n)))
        .collect();
    for _ in 0..iterations {
        for (lattice, work) in &work {
            let normaliser = lattice.normaliser();
            let pass = Pass {
                values: &posterior.handle,
                weights: &normaliser.weights,
                bound: &one,
                after: &normaliser.pixels,
                filtered: &messages.handle,
            };
            lattice.filter(work, &pass, false);
        }
        update(&parameters);
    }
    posterior
}
