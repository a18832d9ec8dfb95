//! Tiles of 64 x 64 entries in workgroup memory, for GPUs: what is filled into `conv2d.wgsl` and
//! `conv2d_backward_kernel.wgsl`, and the grid of the former.

use burn::backend::wgpu::{CubeTensor, SourceTemplate};
use cubecl::server::Handle;

use super::gather::Gather;
use crate::kernels::launch::{self, MAX_WORKGROUPS, Source, shader};

shader!(Tiled, "conv2d" with fill);

/// Entries that a workgroup computes, along either side.
pub const TILE: usize = 64;
/// Its invocations, 8 x 8.
pub const INVOCATIONS: u32 = 64;
/// Channels, or pixels, that are in workgroup memory at a time. With both tiles, half of the 16 KiB that every device has.
pub const DEPTH: usize = 16;
/// Vectors of four entries that an invocation computes along either side.
const BLOCK: usize = 2;

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    Tiled::sources()
}

/// The sums of a workgroup, every one in a variable of its own.
pub fn fill(template: SourceTemplate) -> SourceTemplate {
    let sums = 4 * BLOCK * BLOCK;
    let declare = (0..sums).map(|i| format!("var s{i} = vec4<f32>();"));
    let load = (0..BLOCK).flat_map(|g| {
        let at = |side: &str, lane: &str| format!("{side}[k * STRIDE + {}u + {lane}];", 8 * g);
        [
            format!("let a{g} = {}", at("left", "ty")),
            format!("let b{g} = {}", at("right", "tx")),
        ]
    });
    let add = (0..4 * BLOCK).flat_map(|row| {
        let left = format!("a{}.{}", row / 4, ["x", "y", "z", "w"][row % 4]);
        let sum = move |g| format!("s{} += {left} * b{g};", row * BLOCK + g);
        (0..BLOCK).map(sum)
    });
    let store = (0..sums).map(|i| {
        let (row, column) = (i / BLOCK, i % BLOCK);
        let output = row / 4 * 32 + row % 4;
        format!(
            "store(image_or_part, to_output + {output}, to_place + {}, s{i});",
            32 * column
        )
    });
    template
        .register("depth", DEPTH.to_string())
        .register("tile", (DEPTH * (TILE / 4 + 1)).to_string())
        .register("declare", lines(declare))
        .register("add", lines(load.chain(add)))
        .register("store", lines(store))
}

/// Lines of a shader.
pub fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

/// Workgroups of a gather.
fn grid(gather: &Gather) -> [usize; 3] {
    [
        gather.area().div_ceil(TILE),
        gather.outputs.div_ceil(TILE),
        gather.images * gather.groups,
    ]
}

/// Whether the grid is within the limits of every device.
pub fn fits(gather: &Gather) -> bool {
    grid(gather).into_iter().all(|side| side <= MAX_WORKGROUPS as usize)
}

/// Launches a gather on source, kernel, bias and result.
pub fn launch(like: &CubeTensor, gather: &Gather, has_bias: bool, mut buffers: Vec<Handle>) {
    let words = gather.words(has_bias);
    buffers.push(like.client.create_from_slice(bytemuck::cast_slice(&words)));
    launch::run_groups(like, Tiled, INVOCATIONS, grid(gather), buffers);
}
