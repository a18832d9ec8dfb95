//! Runs of places that an invocation computes on its own, for adapters in software: `conv2d_runs.wgsl`.

use burn::backend::wgpu::{CubeTensor, SourceTemplate};
use cubecl::server::Handle;

use super::gather::Gather;
use super::tiles::lines;
use crate::kernels::launch::{self, MAX_WORKGROUPS, Source, Variant, shader};

shader!(Forward, "conv2d_runs" of Run);

/// Invocations of a workgroup: as many as a processor's vectors hold, so that small images keep all cores busy.
pub const LANES: u32 = 8;

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    Forward::sources()
}

/// What a shader is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Taps of a row that share what was loaded.
    taps: usize,
    /// Values from what one place needs to what the next does.
    advance: usize,
    places: usize,
    outputs: usize,
}

impl Run {
    const fn new([taps, advance]: [usize; 2], [places, outputs]: [usize; 2]) -> Run {
        Run {
            taps,
            advance,
            places,
            outputs,
        }
    }

    /// Measured on llvmpipe (CPU seconds, two cores): 3 taps 30 GFLOP/s, also with twice the places or outputs, 27 with
    /// half of either; at stride 2 24; 1 tap 16, with half of the outputs 15.6.
    const ALL: [Run; 7] = [
        Run::new([1, 1], [32, 32]),
        Run::new([1, 1], [32, 8]),
        Run::new([2, 1], [32, 16]),
        Run::new([2, 1], [32, 8]),
        Run::new([3, 1], [32, 16]),
        Run::new([3, 1], [32, 8]),
        Run::new([3, 2], [32, 16]),
    ];

    fn of(gather: &Gather) -> Run {
        let (taps, step, dilation) = (gather.taps[1], gather.step[1], gather.dilation[1]);
        let shared = match (taps, step) {
            (2 | 3, _) if dilation % step == 0 => [taps, 1],
            (3, 2) if dilation == 1 => [3, 2],
            _ => [1, 1],
        };
        let fits = |run: &&Run| [run.taps, run.advance] == shared;
        let narrow = |run: &&Run| gather.outputs <= run.outputs;
        let widest = Run::ALL.iter().filter(fits).max_by_key(|run| run.outputs);
        let narrowest = Run::ALL
            .iter()
            .filter(fits)
            .filter(narrow)
            .min_by_key(|run| run.outputs);
        *narrowest.or(widest).unwrap_or(&Run::ALL[0])
    }

    /// Values that an invocation loads of a row.
    fn values(self) -> usize {
        (self.places - 1) * self.advance + self.taps
    }
}

impl Variant for Run {
    fn all() -> Vec<Run> {
        Run::ALL.to_vec()
    }

    fn suffix(self) -> String {
        format!("_{}x{}_{}", self.taps, self.advance, self.outputs)
    }

    fn fill(self, template: SourceTemplate) -> SourceTemplate {
        let (places, outputs, taps) = (self.places, self.outputs, self.taps);
        let each = |of: &dyn Fn(usize, usize) -> String| {
            lines(
                (0..outputs)
                    .flat_map(|o| (0..places).map(move |p| (o, p)))
                    .map(|(o, p)| of(o, p)),
            )
        };
        let rows = (0..outputs).map(|o| format!("let o{o} = min(first_output + {o}, outputs - 1) * info[22];"));
        let find = (0..self.values()).map(|t| {
            format!(
                "let r{t} = row * info[9] + i * info[11] - info[13];\n\
                 let a{t} = select(-1, r{t} * width + column - lead, r{t} >= 0 && r{t} < height && column >= lead \
                 && column < lead + width);\n\
                 column += unit;\n\
                 row += select(0, 1, column >= pitch);\n\
                 column -= select(0, pitch, column >= pitch);"
            )
        });
        let values =
            (0..self.values()).map(|t| format!("let x{t} = select(0.0, x[u32(plane + max(a{t}, 0))], a{t} >= 0);"));
        let weights = (0..outputs).flat_map(|o| (0..taps).map(move |j| (o, j)));
        let weights = weights.map(|(o, j)| format!("let w{o}_{j} = kernel[u32(weights + o{o} + {j} * info[25])];"));
        let add = each(&|o, p| {
            let at = p * self.advance;
            let products = (0..taps).map(|j| format!("w{o}_{j} * x{}", at + j)).collect::<Vec<_>>();
            format!("s{o}_{p} += {};", products.join(" + "))
        });
        let store = (0..places).map(|p| {
            let entries = (0..outputs).map(|o| {
                format!(
                    "if first_output + {o} < outputs {{ y[u32(to + (first_output + {o}) * area)] = s{o}_{p} + b{o}; }}"
                )
            });
            format!(
                "{{\nlet place = first + {p} * apart;\nlet row = place / places_pitch;\n\
                 let column = place % places_pitch;\nif row < info[5] && column < info[6] {{\n\
                 let to = start + (row * info[17] + info[19]) * info[16] + column * info[18] + info[20];\n{}\n}}\n}}",
                lines(entries)
            )
        });
        let bias = (0..outputs).map(|o| {
            let at = format!("bias[u32(group * outputs + min(first_output + {o}, outputs - 1))]");
            format!("var b{o} = 0.0;\nif info[28] != 0 {{ b{o} = {at}; }}")
        });
        template
            .register("lanes", LANES.to_string())
            .register("run_row", (LANES * MAX_WORKGROUPS).to_string())
            .register("places", places.to_string())
            .register("outputs", outputs.to_string())
            .register("taps", taps.to_string())
            .register("rows", lines(rows))
            .register("declare", each(&|o, p| format!("var s{o}_{p} = 0.0;")))
            .register("find", lines(find))
            .register("load", lines(values.chain(weights)))
            .register("add", add)
            .register("store", lines(bias.chain(store)))
    }
}

/// How the places of a gather are cut into runs.
struct Layout {
    run: Run,
    pitch: usize,
    unit: usize,
    apart: usize,
    /// Runs of an image.
    runs: usize,
    /// Blocks of outputs.
    blocks: usize,
    /// Of a group.
    invocations: usize,
    lead: usize,
    /// Column of the first value of the first place.
    corner: usize,
}

impl Layout {
    fn of(gather: &Gather) -> Layout {
        let run = Run::of(gather);
        let (step, dilation) = (gather.step[1], gather.dilation[1]);
        let (unit, apart) = match (run.taps, run.advance) {
            (1, _) => (step, 1),
            (_, 1) => (dilation, dilation / step),
            _ => (1, 1),
        };
        let before = gather.before[1];
        let [lead, corner] = [before, -before].map(|n| n.max(0) as usize);
        let places = gather.places[1];
        // The last value of a row, and those before the first of the next row, are beyond the rim for both.
        let reach = (places - 1) * step + gather.taps[1].saturating_sub(1) * dilation + corner + 1;
        let least = [
            places * step,
            lead + gather.source[1],
            reach.saturating_sub(lead),
            unit + 1,
        ];
        let pitch = least.into_iter().max().unwrap_or(1).next_multiple_of(step);
        let all = gather.places[0] * pitch / step;
        let runs = all.div_ceil(run.places * apart) * apart;
        let blocks = gather.outputs.div_ceil(run.outputs);
        Layout {
            run,
            pitch,
            unit,
            apart,
            runs,
            blocks,
            invocations: gather.images * blocks * runs,
            lead,
            corner,
        }
    }

    fn words(&self) -> [i32; 8] {
        [
            self.pitch,
            self.unit,
            self.apart,
            self.runs,
            self.blocks,
            self.invocations,
            self.lead,
            self.corner,
        ]
        .map(|n| n as i32)
    }

    fn grid(&self, groups: usize) -> [usize; 3] {
        grid(self.invocations, groups)
    }
}

/// Workgroups for so many invocations of every group.
pub fn grid(invocations: usize, groups: usize) -> [usize; 3] {
    let (all, most) = (invocations.div_ceil(LANES as usize), MAX_WORKGROUPS as usize);
    [all.min(most), all.div_ceil(most), groups]
}

/// Whether the grid is within the limits of every device.
pub fn fits(gather: &Gather) -> bool {
    let grid = Layout::of(gather).grid(gather.groups);
    grid.into_iter().all(|side| side <= MAX_WORKGROUPS as usize)
}

/// Launches a gather on source, kernel, bias and result.
pub fn launch(like: &CubeTensor, gather: &Gather, has_bias: bool, mut buffers: Vec<Handle>) {
    let layout = Layout::of(gather);
    let mut words = gather.words(has_bias);
    words.extend(layout.words());
    buffers.push(like.client.create_from_slice(bytemuck::cast_slice(&words)));
    let grid = layout.grid(gather.groups);
    launch::run_groups(like, Forward(layout.run), LANES, grid, buffers);
}
