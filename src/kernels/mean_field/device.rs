//! The mean field on a device: the shader `mean_field.wgsl`, and a filter of every lattice, once an iteration.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use cubecl::server::Handle;

use super::{Compatibility, Kernel, MeanField};
use crate::kernels::lattice::{CubeLattice, Pass, Scales, Workspace, constants};
use crate::kernels::launch::{self, Source, shader};

shader!(Update, "mean_field" with constants);

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    Update::sources()
}

impl MeanField for CubeBackend {
    fn mean_field(unary: FloatTensor<Self>, kernels: Vec<Kernel>, iterations: usize) -> FloatTensor<Self> {
        let unary = into_contiguous(unary);
        let [c, n] = unary.meta.shape().dims();
        let start = launch::empty_like(&unary, [c, n]);
        let state = State::new(unary, start, &kernels);
        state.update(&launch::parameters(&state.unary, n, &[c as u32, 0, POSTERIOR]));
        // Probabilities are at most 1.
        let one = state.unary.client.create_from_slice(bytemuck::cast_slice(&[1f32]));
        state.infer(&one, &kernels, iterations)
    }

    fn mean_field_from(
        unary: FloatTensor<Self>,
        posterior: FloatTensor<Self>,
        kernels: Vec<Kernel>,
        iterations: usize,
    ) -> FloatTensor<Self> {
        if iterations == 0 {
            return posterior;
        }
        let (unary, start) = (into_contiguous(unary), own(posterior));
        let bound = bound::<CubeBackend>(start.clone());
        State::new(unary, start, &kernels).infer(&bound.handle, &kernels, iterations)
    }

    fn pairwise_energy(posterior: FloatTensor<Self>, kernels: Vec<Kernel>) -> FloatTensor<Self> {
        let start = own(posterior);
        let [c, n] = start.meta.shape().dims();
        let (bound, zeros) = (
            bound::<CubeBackend>(start.clone()),
            times::<CubeBackend>(start.clone(), 0.0),
        );
        let state = State::new(zeros, start, &kernels);
        state.filter(&bound.handle, &state.passes(&kernels));
        state.update(&launch::parameters(&state.unary, n, &sizes(c, &kernels, ENERGY)));
        state.posterior
    }
}

/// What the shader gives: softmax of the logits, or the logits less the unary, negated.
const POSTERIOR: u32 = 0;
const ENERGY: u32 = 1;

/// A copy that may be written to.
fn own(x: CubeTensor) -> CubeTensor {
    into_contiguous(x).copy()
}

/// A bound `[1]` of the absolute values, at least 1, as for probabilities.
fn bound<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_clamp_min(B::float_max(B::float_abs(x)), 1.0.into())
}

fn times<B: Backend>(x: FloatTensor<B>, factor: f32) -> FloatTensor<B> {
    B::float_mul_scalar(x, factor.into())
}

/// What an update reads and writes.
struct State {
    /// `[C, N]`
    unary: CubeTensor,
    /// `[C, N]`
    posterior: CubeTensor,
    /// `[K, C, N]`
    messages: CubeTensor,
    /// See [`costs`].
    costs: Handle,
}

/// The filter of one kernel.
struct Message<'a> {
    lattice: &'a CubeLattice,
    work: Workspace,
    scales: Scales,
}

impl State {
    fn new(unary: CubeTensor, posterior: CubeTensor, kernels: &[Kernel]) -> State {
        let [c, n] = unary.meta.shape().dims();
        State {
            messages: launch::empty_like(&unary, [kernels.len().max(1), c, n]),
            costs: unary.client.create_from_slice(bytemuck::cast_slice(&costs(c, kernels))),
            posterior,
            unary,
        }
    }

    /// So many updates of the posterior, whose values are within `bound` before the first.
    fn infer(self, bound: &Handle, kernels: &[Kernel], iterations: usize) -> CubeTensor {
        let [c, n] = self.unary.meta.shape().dims();
        let parameters = launch::parameters(&self.unary, n, &sizes(c, kernels, POSTERIOR));
        let messages = self.passes(kernels);
        let one = self.unary.client.create_from_slice(bytemuck::cast_slice(&[1f32]));
        for iteration in 0..iterations {
            self.filter(if iteration == 0 { bound } else { &one }, &messages);
            self.update(&parameters);
        }
        self.posterior
    }

    fn passes<'a>(&self, kernels: &'a [Kernel]) -> Vec<Message<'a>> {
        let [c, n] = self.unary.meta.shape().dims();
        let message = |(k, kernel): (usize, &'a Kernel)| {
            let lattice = kernel.lattice.cube();
            Message {
                lattice,
                work: lattice.workspace(c, k * c * n),
                scales: lattice.scales(kernel.normalisation),
            }
        };
        kernels.iter().enumerate().map(message).collect()
    }

    /// Every kernel's message from the posterior, whose values are within `bound`.
    fn filter(&self, bound: &Handle, messages: &[Message]) {
        for message in messages {
            let scaled = self.scaled(bound, message.scales.bound);
            let pass = Pass {
                values: &self.posterior.handle,
                weights: &message.scales.weights,
                bound: &scaled,
                after: &message.scales.after,
                filtered: &self.messages.handle,
            };
            message.lattice.filter(&message.work, &pass, false);
        }
    }

    /// `bound` `[1]` times `factor`.
    fn scaled(&self, bound: &Handle, factor: f32) -> Handle {
        if factor == 1.0 {
            return bound.clone();
        }
        let mut one = launch::empty_like(&self.unary, [1]);
        one.handle = bound.clone();
        times::<CubeBackend>(one, factor).handle
    }

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

/// The shader's parameters for C = `c` labels, where [`costs`] of every kernel begin and of which kind they are.
fn sizes(c: usize, kernels: &[Kernel], gives: u32) -> Vec<u32> {
    let mut sizes = vec![c as u32, kernels.len() as u32, gives];
    let mut start = 0;
    for kernel in kernels {
        let (length, kind) = match kernel.compatibility {
            Compatibility::Potts(_) => (1, 0),
            Compatibility::Matrix(_) => (c * c, 1),
        };
        sizes.push(2 * start as u32 + kind);
        start += length;
    }
    sizes
}

/// The weights and matrices `[C, C]` of all kernels one after the other.
fn costs(c: usize, kernels: &[Kernel]) -> Vec<f32> {
    let mut costs = Vec::new();
    for kernel in kernels {
        match &kernel.compatibility {
            Compatibility::Potts(weight) => costs.push(*weight),
            // pydensecrf's matrices are made symmetric.
            Compatibility::Matrix(matrix) => costs.extend((0..c * c).map(|i| {
                let transposed = matrix[i % c * c + i / c];
                0.5 * (matrix[i] + transposed)
            })),
        }
    }
    if costs.is_empty() {
        // A storage buffer must not be empty.
        costs.push(0.0);
    }
    costs
}
