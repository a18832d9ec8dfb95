//! What all launchers share: sources, buffers and the grid of workgroups.

use std::fmt::Debug;
use std::hash::Hash;

use burn::backend::ops::FloatTensorOps;
use burn::backend::wgpu::{CubeBackend, CubeTensor, KernelSource, SourceKernel, SourceTemplate};
use burn::tensor::{FloatDType, Shape};
use cubecl::server::{Handle, KernelArguments};
use cubecl::{CubeCount, CubeDim};

use super::memory;

/// Invocations in one workgroup, along x.
pub const WORKGROUP: u32 = 256;
/// WebGPU's default limit of workgroups along one dimension.
pub const MAX_WORKGROUPS: u32 = 65_535;

/// A kernel's source with its parameters filled in, as a graphics driver gets it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file in `shaders/` without its ending, and what was filled in where there is a choice: `lattice_slice_5d`.
    pub name: String,
    /// WGSL.
    pub text: String,
}

impl Source {
    /// The source of `kernel`, from the file `name`; `suffix` tells what was chosen.
    pub(super) fn of(kernel: &impl KernelSource, name: &str, suffix: &str) -> Source {
        Source {
            name: format!("{name}{suffix}"),
            text: kernel.source().complete(),
        }
    }
}

/// What a shader is written for, where its file leaves a choice.
pub trait Variant: Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// All that a launcher can choose.
    fn all() -> Vec<Self>;

    /// What ends the name of the source.
    fn suffix(self) -> String;

    /// Fills the choice in.
    fn fill(self, template: SourceTemplate) -> SourceTemplate;
}

/// An uninitialised contiguous tensor of `shape` beside `like`.
///
/// # Panics
/// As [`empty`].
pub fn empty_like<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let shape = Shape::from(shape);
    let handle = empty(like, shape.num_elements());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, like.dtype)
}

/// A buffer beside `like` for `words` of 32 bits, uninitialised.
///
/// # Panics
/// Where the device has no such buffer, in the words of a full device.
pub fn empty(like: &CubeTensor, words: usize) -> Handle {
    like.client.empty(bytes(like, words))
}

/// A buffer beside `like` of `words` of 32 bits, all of the value 0 or 1 as a float, made on the device.
///
/// # Panics
/// As [`empty`].
pub fn filled(like: &CubeTensor, words: usize, value: f32) -> Handle {
    bytes(like, words);
    let shape = Shape::from([words]);
    CubeBackend::float_full(shape, value.into(), &like.device, FloatDType::F32).handle
}

/// The bytes of so many words, which the device has a buffer for.
fn bytes(like: &CubeTensor, words: usize) -> usize {
    let bytes = words.saturating_mul(size_of::<u32>());
    match memory::check(bytes, memory::largest_buffer(like)) {
        Ok(()) => bytes,
        Err(error) => panic!("{error}"),
    }
}

/// The kernel's parameters as a buffer: the number of invocations first (see [`run`]), then `values`.
///
/// # Panics
/// Where there are more invocations than 32 bits number; none of their buffers would fit a device either.
pub fn parameters(like: &CubeTensor, invocations: usize, values: &[u32]) -> Handle {
    let Ok(first) = u32::try_from(invocations) else {
        panic!("out of memory: {invocations} invocations of a kernel");
    };
    let mut words = vec![first];
    words.extend_from_slice(values);
    like.client.create_from_slice(bytemuck::cast_slice(&words))
}

/// Launches `kernel` over at least `invocations` invocations, folding past 65,535 workgroups into y; the shader
/// rebuilds the flat index as `id.x + id.y * STRIDE` with [`row_stride`].
pub fn run<K: KernelSource>(like: &CubeTensor, kernel: K, invocations: usize, buffers: Vec<Handle>) {
    run_groups(like, kernel, WORKGROUP, grid(invocations, MAX_WORKGROUPS), buffers);
}

/// [`run`] with the kernel's [`parameters`] as the last of its buffers.
pub fn run_with<K: KernelSource>(
    like: &CubeTensor,
    kernel: K,
    invocations: usize,
    mut buffers: Vec<Handle>,
    values: &[u32],
) {
    buffers.push(parameters(like, invocations, values));
    run(like, kernel, invocations, buffers);
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
        Box::new(SourceKernel::new(kernel, CubeDim::new_3d(invocations, 1, 1))),
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
        self.0.source().register("row", row_stride(self.1).to_string())
    }

    fn lang(&self) -> &'static str {
        self.0.lang()
    }

    fn id(&self) -> cubecl::prelude::KernelId {
        self.0.id().info(self.1)
    }
}

/// Declares a kernel whose source is `shaders/NAME.wgsl` with what all have in common filled in. One `with` a function
/// leaves more to fill in, one `of` a [`Variant`] is written for what its struct carries. Its `sources` belong into those
/// of its operator, by which every source is proved to be portable.
macro_rules! shader {
    ($kernel:ident, $name:literal) => {
        $crate::kernels::launch::shader!($kernel, $name with std::convert::identity);
    };
    ($kernel:ident, $name:literal with $fill:path) => {
        #[derive(Debug)]
        struct $kernel;

        impl $kernel {
            fn sources() -> Vec<$crate::kernels::launch::Source> {
                vec![$crate::kernels::launch::Source::of(&$kernel, $name, "")]
            }
        }

        impl burn::backend::wgpu::KernelSource for $kernel {
            fn source(&self) -> burn::backend::wgpu::SourceTemplate {
                $fill($crate::kernels::launch::template($crate::kernels::launch::wgsl!($name)))
            }

            fn lang(&self) -> &'static str {
                "wgsl"
            }

            fn id(&self) -> cubecl::prelude::KernelId {
                cubecl::prelude::KernelId::new::<Self>()
            }
        }
    };
    ($kernel:ident, $name:literal of $variant:ty) => {
        #[derive(Debug)]
        struct $kernel($variant);

        impl $kernel {
            fn sources() -> Vec<$crate::kernels::launch::Source> {
                use $crate::kernels::launch::{Source, Variant};
                let source = |variant: $variant| {
                    Source::of(&$kernel(variant), $name, &variant.suffix())
                };
                <$variant>::all().into_iter().map(source).collect()
            }
        }

        impl burn::backend::wgpu::KernelSource for $kernel {
            fn source(&self) -> burn::backend::wgpu::SourceTemplate {
                let file = $crate::kernels::launch::wgsl!($name);
                $crate::kernels::launch::Variant::fill(
                    self.0,
                    $crate::kernels::launch::template(file),
                )
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

/// The text of `shaders/NAME.wgsl`.
macro_rules! wgsl {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl"))
    };
}
pub(crate) use wgsl;

/// A shader's file with what all have in common filled in.
pub fn template(file: &str) -> SourceTemplate {
    SourceTemplate::new(file)
        .register("workgroup", WORKGROUP.to_string())
        .register("row", row_stride(MAX_WORKGROUPS).to_string())
        .register("groups", MAX_WORKGROUPS.to_string())
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
