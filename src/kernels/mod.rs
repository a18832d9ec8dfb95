//! The operators weakseg brings itself: WGSL kernels, their CPU twins, and their gradients.
//!
//! An operator has a folder of its own. Its `mod.rs` holds the function of tensors to call, which checks shapes and says
//! what the arguments mean, and the extension trait by which burn picks a backend; `device` launches the operator's
//! shaders, which are in `shaders/` under its name; `cpu` is their twin in plain Rust; `autodiff` is the gradient. Each of
//! these three implements the trait for its backend, and [`Kernels`] joins the traits. A gradient that is an operator of
//! its own is in a second trait, as `PairAffinityBackward`, of device and CPU alone.
//!
//! | file | what operators share |
//! |---|---|
//! | `launch` | sources, buffers, the grid of workgroups |
//! | `cpu` | matrix products and exponentials of the CPU twins |
//! | `autodiff` | how a gradient is recorded and handed on |
//! | `memory`, `error` | the largest buffer, what can go wrong |
//! | `neighbourhood` | pixel pairs: pair affinity, random walk |
//! | `convolution` | what depthwise and pointwise convolution share |
//! | `sources` | every shader, as a driver gets it |
//!
//! `#[backend_extension]` writes the implementation of one trait for burn's dispatching backend, so that every operator's
//! trait has its own; [`Kernels`] declares nothing and is true of whatever has them all.

mod autodiff;
mod conv2d;
mod convolution;
mod cpu;
mod cross_attention;
mod depthwise_conv;
mod error;
mod lattice;
mod launch;
mod mean_field;
mod memory;
mod neighbourhood;
mod pair_affinity;
mod pointwise_conv;
mod random_walk;
mod sources;
#[cfg(test)]
mod testing;

pub use conv2d::{Convolver, DenseConv2d, Design, Sliding, conv2d, convolve_by};
pub use cross_attention::{CrossAttention, cross_attention};
pub use depthwise_conv::{DepthwiseConv, Window, depthwise_conv};
pub use error::Error;
pub use lattice::{Lattice, PermutohedralLattice};
pub use launch::Source;
pub use mean_field::{Compatibility, MeanField, mean_field};
pub use memory::Memory;
pub use neighbourhood::offsets;
pub use pair_affinity::{Distance, PairAffinity, pair_affinity};
pub use pointwise_conv::{PointwiseConv, pointwise_conv};
pub use random_walk::{RandomWalk, Walk, random_walk};
pub use sources::sources;

/// A backend with all operators. Call the functions of tensors instead of its own.
pub trait Kernels:
    Memory
    + PairAffinity
    + RandomWalk
    + CrossAttention
    + PermutohedralLattice
    + MeanField
    + DenseConv2d
    + DepthwiseConv
    + PointwiseConv
{
}

impl<B> Kernels for B where
    B: Memory
        + PairAffinity
        + RandomWalk
        + CrossAttention
        + PermutohedralLattice
        + MeanField
        + DenseConv2d
        + DepthwiseConv
        + PointwiseConv
{
}

/// Compiles only where every backend that tensors can be on has all operators.
const _: () = {
    use burn::backend::wgpu::CubeBackend;
    use burn::backend::{Autodiff, Dispatch, Flex};

    const fn complete<B: Kernels>() {}
    complete::<CubeBackend>();
    complete::<Flex>();
    complete::<Autodiff<CubeBackend>>();
    complete::<Autodiff<Flex>>();
    complete::<Dispatch>();
};
