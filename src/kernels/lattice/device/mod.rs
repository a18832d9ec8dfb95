//! The lattice on a device: the shaders `lattice_*.wgsl`.

mod build;
mod filter;

use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, SourceTemplate};
use cubecl::server::Handle;

use super::{Lattice, MOST_DIMENSIONS, PermutohedralLattice};
use crate::kernels::error::Error;
use crate::kernels::launch::{Source, Variant, wgsl};
use crate::kernels::memory;

pub use filter::{Pass, Scales, Workspace};

/// What stands for the largest value in fixed-point sums: those of a run, and a factor of 2 for rounding and weights above
/// 1, still fit an i32.
const FIXED: f32 = 67_108_864.0;

/// Most entries of a lattice point that one invocation sums before it adds them to memory.
const RUN: usize = 15;

/// Channels that one invocation takes to or from the lattice.
const BLOCK: usize = 4;

/// Fills in what the shaders on a lattice have in common.
pub fn constants(template: SourceTemplate) -> SourceTemplate {
    template
        .register("block", BLOCK.to_string())
        .register("run", RUN.to_string())
        .register("fixed", format!("{FIXED:.1}"))
}

/// A shader's number of feature dimensions D.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Dimensions(usize);

impl Variant for Dimensions {
    fn all() -> Vec<Dimensions> {
        (1..=MOST_DIMENSIONS).map(Dimensions).collect()
    }

    fn suffix(self) -> String {
        format!("_{}d", self.0)
    }

    fn fill(self, template: SourceTemplate) -> SourceTemplate {
        constants(template)
            .register("dimensions", self.0.to_string())
            .register("vertices", (self.0 + 1).to_string())
            .register("key", wgsl!("lattice_key"))
    }
}

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [build::sources(), filter::sources()].concat()
}

/// A lattice in device memory.
pub struct CubeLattice {
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
    factors: filter::Factors,
}

impl CubeLattice {
    /// Number of pixels N.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// Number of lattice points M.
    pub fn points(&self) -> usize {
        self.points
    }

    /// Bytes of the largest buffer of its device.
    pub fn largest_buffer(&self) -> usize {
        memory::largest_buffer(&self.weights)
    }
}

/// A bound of the runs of at most [`RUN`] entries that the entries of `points` are cut into.
fn most_runs(points: usize, entries: usize) -> usize {
    points + entries / RUN
}

impl PermutohedralLattice for CubeBackend {
    fn lattice(features: FloatTensor<Self>, slots: Option<usize>) -> Result<Lattice, Error> {
        let most = memory::largest_buffer(&features);
        Ok(build::within(features, slots, most)?.into())
    }

    fn lattice_filter(values: FloatTensor<Self>, lattice: Lattice, reversed: bool) -> FloatTensor<Self> {
        filter::filter(values, lattice.cube(), reversed)
    }
}
