//! What all launchers share: shapes, buffers and the grid of workgroups.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeTensor, KernelSource, SourceKernel, SourceTemplate};
use burn::backend::{Backend, Flex};
use burn::tensor::{Shape, TensorData};
use cubecl::server::{Handle, KernelArguments};
use cubecl::{CubeCount, CubeDim};

/// Invocations in one workgroup, along x.
pub const WORKGROUP: u32 = 256;
/// WebGPU's default limit of workgroups along one dimension.
pub const MAX_WORKGROUPS: u32 = 65_535;

/// What stands for the largest value in the lattice's fixed-point sums: those of a run, and a factor of 2 for rounding and
/// weights above 1, still fit an i32.
const FIXED: f32 = 67_108_864.0;

/// Most entries of a lattice point that one invocation sums before it adds them to memory.
pub const RUN: usize = 15;

/// Channels that one invocation takes to or from the lattice.
pub const BLOCK: usize = 4;

/// Gives every parent of an operation that is tracked its gradient.
pub fn register<B: Backend, const N: usize>(
    grads: &mut Gradients,
    parents: [Option<NodeId>; N],
    gradients: [FloatTensor<B>; N],
) {
    for (parent, gradient) in parents.into_iter().zip(gradients) {
        if let Some(node) = parent {
            grads.register::<B>(node, gradient);
        }
    }
}

/// A shape of rank 4 as an array.
pub fn dims(shape: &Shape) -> [usize; 4] {
    [shape[0], shape[1], shape[2], shape[3]]
}

/// A tensor of burn's CPU backend that owns `data`.
pub fn flex_tensor<const D: usize>(data: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(data, shape))
}

/// An uninitialised contiguous tensor of `shape` beside `like`.
pub fn empty_like<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let shape = Shape::from(shape);
    let bytes = shape.num_elements() * size_of::<f32>();
    let handle = like.client.empty(bytes);
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        shape,
        handle,
        like.dtype,
    )
}

/// The kernel's parameters as a buffer: the number of invocations first (see [`run`]), then `values`.
pub fn parameters(like: &CubeTensor, invocations: usize, values: &[u32]) -> Handle {
    let mut words = vec![invocations as u32];
    words.extend_from_slice(values);
    like.client.create_from_slice(bytemuck::cast_slice(&words))
}

/// The offsets of the neighbourhood as pairs of i32 (dy, dx).
pub fn offsets_buffer(like: &CubeTensor, radius: usize) -> Handle {
    let mut flat: Vec<i32> = super::offsets(radius)
        .into_iter()
        .flat_map(|(dy, dx)| [dy, dx])
        .collect();
    if flat.is_empty() {
        // A storage buffer must not be empty.
        flat = vec![0, 0];
    }
    like.client.create_from_slice(bytemuck::cast_slice(&flat))
}

/// Launches `kernel` over at least `invocations` invocations, folding past 65,535 workgroups into y; the shader
/// rebuilds the flat index as `id.x + id.y * STRIDE` with [`row_stride`].
pub fn run<K: KernelSource>(
    like: &CubeTensor,
    kernel: K,
    invocations: usize,
    buffers: Vec<Handle>,
) {
    run_groups(
        like,
        kernel,
        WORKGROUP,
        grid(invocations, MAX_WORKGROUPS),
        buffers,
    );
}

/// Workgroups along x, y and z for so many invocations, with at most `most` along x.
pub fn grid(invocations: usize, most: u32) -> [usize; 3] {
    let groups = invocations.div_ceil(WORKGROUP as usize).max(1);
    let most = most as usize;
    [groups.min(most), groups.div_ceil(most), 1]
}

/// Launches `kernel` over a grid of workgroups of `invocations` invocations each, none of whose sides exceeds 65,535.
pub fn run_groups<K: KernelSource>(
    like: &CubeTensor,
    kernel: K,
    invocations: u32,
    groups: [usize; 3],
    buffers: Vec<Handle>,
) {
    let [x, y, z] = groups.map(|side| side as u32);
    like.client.launch(
        Box::new(SourceKernel::new(
            kernel,
            CubeDim::new_3d(invocations, 1, 1),
        )),
        CubeCount::Static(x, y, z),
        KernelArguments::new().with_buffers(buffers.into_iter().map(|b| b.binding()).collect()),
    );
}

/// Invocations in one row of a [`grid`] with at most `most` workgroups along x.
pub const fn row_stride(most: u32) -> u32 {
    most * WORKGROUP
}

/// A kernel for grids with at most so many workgroups along x: the same as ever but for the stride of rows.
#[cfg(test)]
#[derive(Debug)]
pub struct Folded<K>(pub K, pub u32);

#[cfg(test)]
impl<K: KernelSource> KernelSource for Folded<K> {
    fn source(&self) -> SourceTemplate {
        self.0
            .source()
            .register("row", row_stride(self.1).to_string())
    }

    fn lang(&self) -> &'static str {
        self.0.lang()
    }

    fn id(&self) -> cubecl::prelude::KernelId {
        self.0.id().info(self.1)
    }
}

/// Declares a kernel whose source is `shaders/NAME.wgsl` with the workgroup size and row stride filled in. A kernel
/// `over dimensions` is written for a lattice of so many feature dimensions, which its struct carries; one `in blocks` is a
/// product of matrices that computes blocks of some size. Its `sources` belong into those of its launcher, by which every
/// source is proved to be portable.
macro_rules! shader {
    ($kernel:ident, $source:ident, $path:literal) => {
        burn::backend::wgpu::kernel_source!($source, $path);

        #[derive(Debug)]
        struct $kernel;

        impl $kernel {
            fn sources() -> Vec<$crate::kernels::sources::Source> {
                vec![$crate::kernels::sources::Source::of(&$kernel, $path, "")]
            }
        }

        impl burn::backend::wgpu::KernelSource for $kernel {
            fn source(&self) -> burn::backend::wgpu::SourceTemplate {
                $crate::kernels::launch::fill($source::new().source())
            }

            fn lang(&self) -> &'static str {
                "wgsl"
            }

            fn id(&self) -> cubecl::prelude::KernelId {
                cubecl::prelude::KernelId::new::<Self>()
            }
        }
    };
    ($kernel:ident, $source:ident, $path:literal over dimensions) => {
        burn::backend::wgpu::kernel_source!($source, $path);

        #[derive(Debug)]
        struct $kernel(usize);

        impl $kernel {
            fn sources(most: usize) -> Vec<$crate::kernels::sources::Source> {
                let variant =
                    |d| $crate::kernels::sources::Source::of(&$kernel(d), $path, &format!("_{d}d"));
                (1..=most).map(variant).collect()
            }
        }

        impl burn::backend::wgpu::KernelSource for $kernel {
            fn source(&self) -> burn::backend::wgpu::SourceTemplate {
                $crate::kernels::launch::fill($source::new().source())
                    .register("dimensions", self.0.to_string())
                    .register("vertices", (self.0 + 1).to_string())
            }

            fn lang(&self) -> &'static str {
                "wgsl"
            }

            fn id(&self) -> cubecl::prelude::KernelId {
                cubecl::prelude::KernelId::new::<Self>().info(self.0)
            }
        }
    };
    ($kernel:ident, $source:ident, $path:literal in blocks) => {
        burn::backend::wgpu::kernel_source!($source, $path);

        #[derive(Debug)]
        struct $kernel($crate::kernels::cross_attention_product::Block);

        impl $kernel {
            fn sources() -> Vec<$crate::kernels::sources::Source> {
                let blocks = $crate::kernels::cross_attention_product::Block::ALL;
                let variant = |block| {
                    $crate::kernels::sources::Source::of(&$kernel(block), $path, block.variant())
                };
                blocks.map(variant).into()
            }
        }

        impl burn::backend::wgpu::KernelSource for $kernel {
            fn source(&self) -> burn::backend::wgpu::SourceTemplate {
                $crate::kernels::launch::fill($source::new().source())
                    .register("product", self.0.source())
            }

            fn lang(&self) -> &'static str {
                "wgsl"
            }

            fn id(&self) -> cubecl::prelude::KernelId {
                cubecl::prelude::KernelId::new::<Self>().info(self.0)
            }
        }
    };
}
pub(crate) use shader;

/// Fills in what shaders have in common.
pub fn fill(template: SourceTemplate) -> SourceTemplate {
    template
        .register("workgroup", WORKGROUP.to_string())
        .register("row", row_stride(MAX_WORKGROUPS).to_string())
        .register("groups", MAX_WORKGROUPS.to_string())
        .register("block", BLOCK.to_string())
        .register("run", RUN.to_string())
        .register("fixed", format!("{FIXED:.1}"))
        .register("key", include_str!("../../shaders/lattice_key.wgsl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_holds_every_invocation_within_the_limit() {
        assert_eq!(grid(0, 7), [1, 1, 1]);
        assert_eq!(grid(256 * 7, 7), [7, 1, 1]);
        assert_eq!(grid(256 * 7 + 1, 7), [7, 2, 1]);
        // As many as fit a 32-bit index.
        let [x, y, _] = grid(u32::MAX as usize, MAX_WORKGROUPS);
        assert!(x <= 65_535 && y <= 65_535 && x * y * 256 >= u32::MAX as usize);
    }
}
