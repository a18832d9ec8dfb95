//! What the products of matrices in cross attention have in common: squares of entries that stay in registers.

use burn::backend::wgpu::{CubeTensor, KernelSource, SourceTemplate};
use cubecl::Device;
use cubecl::device::WgpuDeviceKind;
use cubecl::server::Handle;

use crate::kernels::launch::{Variant, run_groups, wgsl};

/// Invocations of one workgroup, 8 x 8.
const INVOCATIONS: u32 = 64;

/// How many vectors of four entries an invocation computes along either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block(usize);

impl Block {
    /// As many as the registers of a GPU have room for.
    pub const GPU: Block = Block(2);
    /// In software a load takes as long as dozens of products, whatever memory it is from: as many as pay.
    const SOFTWARE: Block = Block(8);

    fn on(device: &Device) -> Block {
        #[cfg(test)]
        if let Some((block, launches)) = forced::BLOCK.get() {
            forced::BLOCK.set(Some((block, launches + 1)));
            return block;
        }
        match device {
            Device::Wgpu(device) if device.kind == WgpuDeviceKind::Cpu => Block::SOFTWARE,
            _ => Block::GPU,
        }
    }

    /// Entries that one workgroup computes, along either side.
    fn tile(self) -> usize {
        32 * self.0
    }

    /// The part that the shaders share, every sum in a variable of its own.
    fn product(self) -> String {
        let side = 0..self.0;
        // Two tiles fill no more than the 16 KiB of workgroup memory that every device has.
        let (depth, padding) = match self {
            Block::GPU => (16, 1),
            _ => (8, 0),
        };
        let declare = (0..4 * self.0 * self.0).map(|i| format!("var s{i} = vec4<f32>();"));
        let load = side.clone().flat_map(|g| {
            let at = |lane: &str| format!("_tile[k * STRIDE + {}u + {lane}];", 8 * g);
            [
                format!("let a{g} = left{}", at("ty")),
                format!("let b{g} = right{}", at("tx")),
            ]
        });
        let add = (0..4 * self.0).flat_map(|row| {
            let left = format!("a{}.{}", row / 4, ["x", "y", "z", "w"][row % 4]);
            let sum = move |g| format!("s{} += {left} * b{g};", row * self.0 + g);
            side.clone().map(sum)
        });
        let names = (0..4 * self.0 * self.0).map(|i| format!("s{i}"));
        let lines = |lines: Vec<String>| lines.join("\n");
        wgsl!("cross_attention_product")
            .replace("{{ block }}", &self.0.to_string())
            .replace("{{ depth }}", &depth.to_string())
            .replace("{{ padding }}", &padding.to_string())
            .replace("{{ declare }}", &lines(declare.collect()))
            .replace("{{ add }}", &lines(load.chain(add).collect()))
            .replace("{{ names }}", &names.collect::<Vec<_>>().join(", "))
    }
}

impl Variant for Block {
    fn all() -> Vec<Block> {
        vec![Block::GPU, Block::SOFTWARE]
    }

    fn suffix(self) -> String {
        match self {
            Block::GPU => "",
            _ => "_software",
        }
        .into()
    }

    fn fill(self, template: SourceTemplate) -> SourceTemplate {
        template.register("product", self.product())
    }
}

/// Launches the product that `kernel` is in blocks of the size that suits the device: `rows` by `columns` entries, for so
/// many `images`.
pub fn launch<K: KernelSource>(
    like: &CubeTensor,
    kernel: impl Fn(Block) -> K,
    [rows, columns]: [usize; 2],
    images: usize,
    buffers: Vec<Handle>,
) {
    let block = Block::on(&like.device);
    let [x, y] = [columns, rows].map(|side| side.div_ceil(block.tile()));
    run_groups(like, kernel(block), INVOCATIONS, [x, y, images], buffers);
}

/// A block for all launches of a test, so that one in software sees those for GPUs too.
#[cfg(test)]
pub mod forced {
    use std::cell::Cell;

    use super::Block;

    thread_local! {
        /// The block, and how many launches took it.
        pub static BLOCK: Cell<Option<(Block, u32)>> = const { Cell::new(None) };
    }
}
