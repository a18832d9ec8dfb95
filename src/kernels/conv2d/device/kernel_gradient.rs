//! The gradient of the kernel: `conv2d_backward_kernel.wgsl` on GPUs, `conv2d_backward_kernel_runs.wgsl` in software, and
//! `conv2d_sum.wgsl`. It is summed in parts, as many as the sizes say, which are added up from the first to the last.

use burn::backend::wgpu::{CubeTensor, SourceTemplate};

use super::runs;
use super::tiles::{DEPTH, INVOCATIONS, TILE, fill, lines};
use crate::kernels::conv2d::Sizes;
use crate::kernels::conv2d::convolver::Design;
use crate::kernels::launch::{self, MAX_WORKGROUPS, Source, Variant, shader};

shader!(Tiled, "conv2d_backward_kernel" with fill);
shader!(Walked, "conv2d_backward_kernel_runs" of Walk);
shader!(Sum, "conv2d_sum");

/// Workgroups of a launch that keep a large GPU busy, if there is work for as many.
const WORKGROUPS: usize = 512;
/// Fewest pixels of a part there: writing and adding up a share should be little beside of it.
const LEAST_PIXELS: usize = 512;
/// The same in software: invocations, and rows.
const WALKS: usize = 256;
const LEAST_ROWS: usize = 8;
/// Most entries of all shares, 64 MB.
const MOST_ENTRIES: usize = 1 << 24;

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [Tiled::sources(), Walked::sources(), Sum::sources()].concat()
}

/// What the shader for software is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Walk {
    /// Taps of a row that are summed at once.
    taps: usize,
    /// Values of the image from what one pixel of the gradient meets to what the next does.
    advance: usize,
    outputs: usize,
    channels: usize,
}

impl Walk {
    const fn new([taps, advance]: [usize; 2], [outputs, channels]: [usize; 2]) -> Walk {
        Walk {
            taps,
            advance,
            outputs,
            channels,
        }
    }

    /// Measured on llvmpipe (CPU seconds, two cores): 3 taps 27 GFLOP/s, with half of the channels 24.5, with twice the
    /// outputs 24.6; at stride 2 18; 1 tap 22, with half of either 18; 7 taps at stride 2 18.
    const ALL: [Walk; 6] = [
        Walk::new([1, 1], [16, 4]),
        Walk::new([1, 1], [32, 32]),
        Walk::new([3, 1], [16, 4]),
        Walk::new([3, 1], [16, 16]),
        Walk::new([3, 2], [16, 8]),
        Walk::new([7, 2], [16, 4]),
    ];

    fn of(sizes: &Sizes) -> Walk {
        let (taps, step, dilation) = (sizes.kernel[1], sizes.stride[1], sizes.dilation[1]);
        let shared = match (taps, step) {
            (3, _) if dilation % step == 0 => [3, 1],
            (3 | 7, 2) if dilation == 1 => [taps, 2],
            _ => [1, 1],
        };
        let fits = |walk: &&Walk| [walk.taps, walk.advance] == shared;
        let enough = |walk: &&Walk| sizes.inputs <= walk.channels;
        let mut all = Walk::ALL.iter().filter(fits);
        let last = all.clone().next_back();
        *all.find(enough).or(last).unwrap_or(&Walk::ALL[0])
    }

    /// Columns of the image between two taps, and places of the gradient between two that are met one after the other.
    fn spacing(self, sizes: &Sizes) -> [usize; 2] {
        let (step, dilation) = (sizes.stride[1], sizes.dilation[1]);
        match (self.taps, self.advance) {
            (1, _) => [1, 1],
            (_, 1) => [dilation, dilation / step],
            _ => [1, 1],
        }
    }

    /// Rows of the kernel, blocks of channels and of outputs, and steps along a row of the kernel.
    fn blocks(self, sizes: &Sizes) -> [usize; 4] {
        [
            sizes.kernel[0],
            sizes.inputs.div_ceil(self.channels),
            sizes.outputs.div_ceil(self.outputs),
            sizes.kernel[1] / self.taps,
        ]
    }
}

impl Variant for Walk {
    fn all() -> Vec<Walk> {
        Walk::ALL.to_vec()
    }

    fn suffix(self) -> String {
        format!("_{}x{}_{}", self.taps, self.advance, self.channels)
    }

    fn fill(self, template: SourceTemplate) -> SourceTemplate {
        let Walk {
            taps,
            advance,
            outputs,
            channels,
        } = self;
        let kept = taps.saturating_sub(advance);
        let entries = move || {
            let pairs = (0..outputs).flat_map(move |o| (0..channels).map(move |c| (o, c)));
            pairs.flat_map(move |(o, c)| (0..taps).map(move |j| (o, c, j)))
        };
        let rows = (0..outputs)
            .map(|o| format!("let o{o} = min(first_output + {o}, outputs - 1) * area;"))
            .chain(
                (0..channels).map(|c| format!("let c{c} = min(first_channel + {c}, channels - 1) * height * width;")),
            );
        // Every channel's value in the column of tap j.
        let read = |j: usize, slot: usize| {
            let values = (0..channels)
                .map(move |c| format!("x{c}_{slot} = select(0.0, x[u32(from_image + c{c} + inside)], exists);"));
            let column = format!(
                "let seen = column + {j} * unit;\nlet exists = seen >= 0 && seen < width;\n\
                 let inside = select(0, seen, exists);"
            );
            format!("{{\n{column}\n{}\n}}", lines(values))
        };
        let hold = (0..channels).flat_map(|c| (0..taps).map(move |j| format!("var x{c}_{j} = 0.0;")));
        let first = (0..kept).map(|j| read(j, j + advance));
        let shift = (0..channels).flat_map(|c| (0..kept).map(move |j| format!("x{c}_{j} = x{c}_{};", j + advance)));
        let next = (kept..taps).map(|j| read(j, j));
        let gradients = (0..outputs).map(|o| format!("let g{o} = gradient[u32(from_gradient + o{o} + at)];"));
        let add = entries().map(|(o, c, j)| format!("s{o}_{c}_{j} += g{o} * x{c}_{j};"));
        let store = (0..outputs)
            .flat_map(|o| (0..channels).map(move |c| (o, c)))
            .map(|(o, c)| {
                let taps = (0..taps).map(|j| format!("shares[u32(to + {j})] = s{o}_{c}_{j};"));
                format!(
                    "if first_output + {o} < outputs && first_channel + {c} < channels {{\n\
                 let to = ((((part * groups + group) * outputs + first_output + {o}) * channels + first_channel + {c}) \
                 * info[7] + i) * info[8] + j;\n{}\n}}",
                    lines(taps)
                )
            });
        template
            .register("lanes", runs::LANES.to_string())
            .register("run_row", (runs::LANES * MAX_WORKGROUPS).to_string())
            .register("taps", taps.to_string())
            .register("outputs", outputs.to_string())
            .register("channels", channels.to_string())
            .register("rows", lines(rows))
            .register(
                "declare",
                lines(entries().map(|(o, c, j)| format!("var s{o}_{c}_{j} = 0.0;"))),
            )
            .register("before", lines(hold.chain(first)))
            .register("load", lines(shift.chain(next).chain(gradients)))
            .register("add", lines(add))
            .register("store", lines(store))
    }
}

/// How the gradient is computed.
pub struct Plan {
    sizes: Sizes,
    walk: Option<Walk>,
    parts: usize,
    /// Pixels of a part of tiles.
    length: usize,
}

impl Plan {
    /// Parts for tensors of such `sizes`.
    pub fn new(sizes: &Sizes, design: Design) -> Plan {
        let entries = sizes.kernel_shape().into_iter().product::<usize>().max(1);
        let [h, w] = sizes.out;
        let pixels = sizes.images * h * w;
        let walk = (design == Design::Runs).then(|| Walk::of(sizes));
        let most = (MOST_ENTRIES / entries).max(1);
        let parts = match walk {
            Some(walk) => {
                let blocks: usize = walk.blocks(sizes).into_iter().product();
                let wanted = WALKS.div_ceil(blocks * sizes.groups);
                wanted.min((sizes.images * h).div_ceil(LEAST_ROWS))
            }
            None => {
                let [x, y] = tiles(sizes);
                let wanted = WORKGROUPS.div_ceil(x * y * sizes.groups);
                wanted.min(pixels.div_ceil(LEAST_PIXELS))
            }
        };
        let parts = parts.clamp(1, most);
        Plan {
            sizes: *sizes,
            walk,
            parts,
            length: pixels.div_ceil(parts).next_multiple_of(DEPTH),
        }
    }

    fn grid(&self) -> [usize; 3] {
        let groups = self.sizes.groups;
        match self.walk {
            Some(walk) => {
                let blocks: usize = walk.blocks(&self.sizes).into_iter().product();
                runs::grid(blocks * self.parts, groups)
            }
            None => {
                let [x, y] = tiles(&self.sizes);
                [x, y, self.parts * groups]
            }
        }
    }

    /// Whether the grid is within the limits of every device.
    pub fn fits(&self) -> bool {
        self.grid().into_iter().all(|side| side <= MAX_WORKGROUPS as usize)
    }

    /// As both shaders read it.
    fn words(&self) -> Vec<i32> {
        let s = &self.sizes;
        let mut words = vec![s.images, s.inputs, s.outputs];
        words.extend([s.image, s.out, s.kernel, s.stride, s.dilation, s.padding].concat());
        words.extend([s.groups, self.parts, self.length]);
        if let Some(walk) = self.walk {
            let [rows, channels, outputs, steps] = walk.blocks(s);
            words.extend(walk.spacing(s));
            words.extend([channels, outputs, rows * channels * outputs * steps]);
        }
        words.into_iter().map(|n| n as i32).collect()
    }

    /// Contiguous input and gradient of the output → the gradient of the kernel.
    pub fn run(&self, input: &CubeTensor, gradient: &CubeTensor) -> CubeTensor {
        let shape = self.sizes.kernel_shape();
        let sums = launch::empty_like(input, shape);
        let entries: usize = shape.into_iter().product();
        let shares = match self.parts {
            1 => sums.clone(),
            parts => launch::empty_like(input, [parts, entries]),
        };
        let buffers = vec![
            input.handle.clone(),
            gradient.handle.clone(),
            shares.handle.clone(),
            input.client.create_from_slice(bytemuck::cast_slice(&self.words())),
        ];
        match self.walk {
            Some(walk) => launch::run_groups(input, Walked(walk), runs::LANES, self.grid(), buffers),
            None => launch::run_groups(input, Tiled, INVOCATIONS, self.grid(), buffers),
        }
        if self.parts > 1 {
            let buffers = vec![shares.handle.clone(), sums.handle.clone()];
            launch::run_with(input, Sum, entries, buffers, &[self.parts as u32]);
        }
        sums
    }
}

/// Tiles along columns and rows.
fn tiles(sizes: &Sizes) -> [usize; 2] {
    let [k, l] = sizes.kernel;
    [sizes.inputs * k * l, sizes.outputs].map(|side| side.div_ceil(TILE))
}
