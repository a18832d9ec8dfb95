//! The mean field on a device: the shader `mean_field.wgsl`, and a filter of every lattice, once an iteration.

use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use cubecl::server::Handle;

use super::{Compatibility, MeanField};
use crate::kernels::lattice::{Lattice, Pass, constants};
use crate::kernels::launch::{self, Source, shader};

shader!(Update, "mean_field" with constants);

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    Update::sources()
}

impl MeanField for CubeBackend {
    fn mean_field(
        unary: FloatTensor<Self>,
        kernels: Vec<(Lattice, Compatibility)>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        let unary = into_contiguous(unary);
        let [c, n] = unary.meta.shape().dims();
        let (sizes, costs) = table(c, &kernels);
        let state = State {
            posterior: launch::empty_like(&unary, [c, n]),
            messages: launch::empty_like(&unary, [kernels.len().max(1), c, n]),
            costs: unary.client.create_from_slice(bytemuck::cast_slice(&costs)),
            unary,
        };
        let like = &state.unary;
        state.update(&launch::parameters(like, n, &[c as u32, 0]));
        let one = like.client.create_from_slice(&1f32.to_ne_bytes());
        let parameters = launch::parameters(like, n, &sizes);
        let lattices = kernels.iter().map(|(lattice, _)| lattice.cube());
        let work: Vec<_> = lattices
            .enumerate()
            .map(|(k, lattice)| (lattice, lattice.workspace(c, k * c * n)))
            .collect();
        for _ in 0..iterations {
            for (lattice, work) in &work {
                let normaliser = lattice.normaliser();
                let pass = Pass {
                    values: &state.posterior.handle,
                    weights: &normaliser.weights,
                    bound: &one,
                    after: &normaliser.pixels,
                    filtered: &state.messages.handle,
                };
                lattice.filter(work, &pass, false);
            }
            state.update(&parameters);
        }
        state.posterior
    }
}

/// What an update reads and writes.
struct State {
    /// `[C, N]`
    unary: CubeTensor,
    /// `[C, N]`
    posterior: CubeTensor,
    /// `[K, C, N]`
    messages: CubeTensor,
    /// See [`table`].
    costs: Handle,
}

impl State {
    /// The posterior from the unary and the messages of as many kernels as the parameters say.
    fn update(&self, parameters: &Handle) {
        let buffers = vec![
            self.unary.handle.clone(),
            self.messages.handle.clone(),
            self.costs.clone(),
            self.posterior.handle.clone(),
            parameters.clone(),
        ];
        launch::run(&self.unary, Update, self.unary.meta.shape()[1], buffers);
    }
}

/// The shader's parameters for C = `c` labels, and the weights and matrices of all kernels one after the other.
fn table(c: usize, kernels: &[(Lattice, Compatibility)]) -> (Vec<u32>, Vec<f32>) {
    let mut sizes = vec![c as u32, kernels.len() as u32];
    let mut costs = Vec::new();
    for (_, compatibility) in kernels {
        let start = 2 * costs.len() as u32;
        match compatibility {
            Compatibility::Potts(weight) => {
                sizes.push(start);
                costs.push(*weight);
            }
            Compatibility::Matrix(matrix) => {
                sizes.push(start + 1);
                // pydensecrf's matrices are made symmetric.
                costs.extend((0..c * c).map(|i| {
                    let transposed = matrix[i % c * c + i / c];
                    0.5 * (matrix[i] + transposed)
                }));
            }
        }
    }
    if costs.is_empty() {
        // A storage buffer must not be empty.
        costs.push(0.0);
    }
    (sizes, costs)
}
