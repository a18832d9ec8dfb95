//! The permutohedral lattice (Adams et al. 2010; constants of Krähenbühl and Koltun 2011): Gaussian filtering in
//! feature spaces of many dimensions, in time and memory linear in pixels.

use std::sync::{Arc, OnceLock};

use anyhow::{Result, ensure};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeTensor;
use burn::backend::{Autodiff, Dispatch};
use burn::tensor::Tensor;
use cubecl::server::Handle;
use derive_new::new;

use super::sources::Source;
use super::{Compatibility, Kernels, cpu, launch};

mod build;
mod filter;

pub(super) use build::build;
pub(super) use filter::{Pass, filter};

/// Most feature dimensions: ranks are kept in four bits.
const MOST_DIMENSIONS: usize = 15;

/// A permutohedral lattice over the features of N pixels, built once and used for any number of filters.
#[derive(Clone)]
pub struct Lattice(Arc<Storage>);

enum Storage {
    Cpu(cpu::lattice::Lattice, OnceLock<Vec<f32>>),
    Cube(Box<CubeLattice>),
}

/// A lattice in device memory.
pub(super) struct CubeLattice {
    /// `[D + 1, N]`, barycentric.
    weights: CubeTensor,
    /// `[D + 1, N]` as u32: the lattice point of each vertex.
    entries: Handle,
    /// `[R, 3]` as u32: lattice point, first place among the sorted and number of entries of a run; none at the end.
    runs: Handle,
    /// `[(D + 1) N]` as u32 and f32: pixel and weight of each vertex, by point.
    sorted: [Handle; 2],
    /// `[D + 1, M, 2]` as u32.
    neighbours: Handle,
    dimensions: usize,
    pixels: usize,
    points: usize,
    normaliser: OnceLock<filter::Normaliser>,
}

impl std::fmt::Debug for Lattice {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            f,
            "Lattice of {} points over {} pixels",
            self.points(),
            self.pixels()
        )
    }
}

impl Lattice {
    /// The lattice of features `[D, N]`, D of 1 to 15, each divided by its standard deviation.
    ///
    /// Takes memory in O(N D). On a device, waits for the number of points.
    ///
    /// # Errors
    /// On features that are not finite or too far out to be told apart in f32, on other D, and where the device's
    /// buffers are too small for so many pixels.
    pub fn new(features: Tensor<2>) -> Result<Lattice> {
        let [d, n] = features.dims();
        ensure!(
            (1..=MOST_DIMENSIONS).contains(&d),
            "a lattice over {d} feature dimensions: use 1 to {MOST_DIMENSIONS}"
        );
        ensure!(n > 0, "a lattice over no pixels");
        Dispatch::lattice(features.into_dispatch(), None)
    }

    /// [`Lattice::new`] on valid features with a table that begins with `slots`, a power of two, and has to grow.
    #[cfg(test)]
    pub(super) fn with_slots(features: Tensor<2>, slots: usize) -> Result<Lattice> {
        Dispatch::lattice(features.into_dispatch(), Some(slots))
    }

    /// Values `[C, N]` → their Gaussian-weighted sums over all pixels `[C, N]`, not normalised, with gradient.
    ///
    /// The lattice approximates exp(-‖f_i - f_j‖² / 2) up to a constant factor of about a half, which is a property
    /// of the method. The filter is symmetric up to the order of its blurs; the gradient uses the exact transpose.
    ///
    /// # Panics
    /// Where the values are of another number of pixels or on another device than the lattice.
    pub fn filter(&self, values: Tensor<2>) -> Tensor<2> {
        assert_eq!(
            values.dims()[1],
            self.pixels(),
            "pixels of values and lattice"
        );
        Tensor::from_dispatch(Dispatch::lattice_filter(
            values.into_dispatch(),
            self.clone(),
            false,
        ))
    }

    /// Number of pixels N.
    pub fn pixels(&self) -> usize {
        match &*self.0 {
            Storage::Cpu(lattice, _) => lattice.pixels(),
            Storage::Cube(lattice) => lattice.pixels,
        }
    }

    /// Number of lattice points M.
    pub fn points(&self) -> usize {
        match &*self.0 {
            Storage::Cpu(lattice, _) => lattice.points(),
            Storage::Cube(lattice) => lattice.points,
        }
    }

    /// Whether mean-field inference with so many labels and kernels fits the buffers of the lattice's device.
    ///
    /// # Errors
    /// Names the buffer that is too large, and the largest.
    pub fn check_room(&self, labels: usize, kernels: usize) -> Result<()> {
        let Storage::Cube(lattice) = &*self.0 else {
            return Ok(());
        };
        let most = lattice.weights.client.properties().memory.max_page_size;
        let messages = 4 * kernels * labels * lattice.pixels;
        let needed = messages.max(8 * labels * lattice.points) as u64;
        ensure!(
            needed <= most,
            "{labels} labels on {} pixels need a buffer of {} MB, but this device's largest is {} MB: give fewer labels or use --device cpu",
            lattice.pixels,
            needed / 1_000_000,
            most / 1_000_000
        );
        Ok(())
    }

    pub(super) fn from_cpu(lattice: cpu::lattice::Lattice) -> Lattice {
        Lattice(Arc::new(Storage::Cpu(lattice, OnceLock::new())))
    }

    /// The CPU twin and its normaliser. Panics where the lattice is on another device: a mistake in the caller.
    pub(super) fn cpu(&self) -> (&cpu::lattice::Lattice, &[f32]) {
        match &*self.0 {
            Storage::Cpu(lattice, normaliser) => {
                let normaliser = normaliser.get_or_init(|| cpu::mean_field::normaliser(lattice));
                (lattice, normaliser)
            }
            Storage::Cube(_) => panic!("the lattice was built on another device"),
        }
    }

    /// The CPU twin of a pairwise kernel on this lattice.
    pub(super) fn kernel(&self, compatibility: Compatibility) -> cpu::mean_field::Kernel<'_> {
        let (lattice, normaliser) = self.cpu();
        cpu::mean_field::Kernel {
            lattice,
            normaliser,
            compatibility,
        }
    }

    /// The lattice in device memory. Panics where it is on the CPU: a mistake in the caller.
    pub(super) fn cube(&self) -> &CubeLattice {
        match &*self.0 {
            Storage::Cube(lattice) => lattice,
            Storage::Cpu(..) => panic!("the lattice was built on another device"),
        }
    }
}

/// A bound of the runs of at most [`launch::RUN`] entries that the entries of `points` are cut into.
fn most_runs(points: usize, entries: usize) -> usize {
    points + entries / launch::RUN
}

/// All sources that may be launched.
pub(super) fn sources() -> Vec<Source> {
    [build::sources(), filter::sources()].concat()
}

#[derive(new, Debug)]
struct Filter;

impl<B: Kernels> Backward<B, 1> for Filter {
    type State = (Lattice, bool);

    /// The transpose of splat, blurs and slice is the same with the blurs in the opposite order.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (lattice, reversed) = ops.state;
        if let Some(node) = parent {
            grads.register::<B>(node.id, B::lattice_filter(grad, lattice, !reversed));
        }
    }
}

pub(super) fn autodiff<B: Kernels, C: CheckpointStrategy>(
    values: FloatTensor<Autodiff<B, C>>,
    lattice: Lattice,
    reversed: bool,
) -> FloatTensor<Autodiff<B, C>> {
    match Filter::new()
        .prepare::<C>([values.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let out = B::lattice_filter(values.into_primitive(), lattice.clone(), reversed);
            prep.finish((lattice, reversed), out)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::lattice_filter(
            values.into_primitive(),
            lattice,
            reversed,
        )),
    }
}
