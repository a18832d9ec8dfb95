//! Filtering on a device: splat, blur along every axis of the lattice, and slice.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use cubecl::server::Handle;

use super::{BLOCK, CubeLattice, Dimensions, constants, most_runs};
use crate::kernels::launch::{self, Source, shader};

shader!(Splat, "lattice_splat" with constants);
shader!(Decode, "lattice_decode" with constants);
shader!(Blur, "lattice_blur" with constants);
shader!(Slice, "lattice_slice" of Dimensions);
shader!(Normalise, "lattice_normalise");

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [
        Splat::sources(),
        Decode::sources(),
        Blur::sources(),
        Slice::sources(),
        Normalise::sources(),
    ]
    .concat()
}

/// What normalises a filter symmetrically.
pub struct Normaliser {
    /// `[N]`: 1 / sqrt(filter of ones).
    pub pixels: Handle,
    /// `[(D + 1) N]`, by point: the weight of each vertex times its pixel's normaliser.
    pub weights: Handle,
}

/// What filters of one number of channels share: the sums on the lattice, two buffers that the blur goes between, and
/// the parameters of every launch. Uploading those anew would cut the device's work into pieces.
pub struct Workspace {
    sums: Handle,
    values: [Handle; 2],
    splat: Handle,
    decode: Handle,
    /// By axis.
    blur: Vec<Handle>,
    slice: Handle,
    channels: usize,
}

/// What one filter reads and writes.
pub struct Pass<'a> {
    /// `[C, N]`.
    pub values: &'a Handle,
    /// `[(D + 1) N]`, by point: the weight of each vertex in the splat.
    pub weights: &'a Handle,
    /// `[1]`: a bound of the absolute value of every value times its weights.
    pub bound: &'a Handle,
    /// `[N]`: factor on the result.
    pub after: &'a Handle,
    /// `[C, N]` from the workspace's start on.
    pub filtered: &'a Handle,
}

impl CubeLattice {
    /// Buffers for filtering values of `channels` into the elements from `start` on.
    pub fn workspace(&self, channels: usize, start: usize) -> Workspace {
        let like = &self.weights;
        let (n, c, m) = (self.pixels as u32, channels as u32, self.points as u32);
        let cells = self.points * channels;
        let factor = 1.0 / (1.0 + 0.5f32.powi(self.dimensions as i32));
        let runs = self.runs() * channels.div_ceil(BLOCK);
        let blocks = self.pixels * channels.div_ceil(BLOCK);
        let blurred = self.points * channels.div_ceil(BLOCK);
        Workspace {
            sums: launch::filled(like, 2 * cells, 0.0),
            values: [launch::empty(like, cells), launch::empty(like, cells)],
            splat: launch::parameters(like, runs, &[self.runs() as u32, n, c]),
            decode: launch::parameters(like, cells, &[]),
            blur: (0..=self.dimensions as u32)
                .map(|axis| launch::parameters(like, blurred, &[c, m, axis]))
                .collect(),
            slice: launch::parameters(like, blocks, &[n, c, factor.to_bits(), start as u32]),
            channels,
        }
    }

    /// Runs that may hold entries.
    fn runs(&self) -> usize {
        most_runs(self.points, self.pixels * (self.dimensions + 1))
    }

    /// Splat, blur along every axis, and slice.
    pub fn filter(&self, work: &Workspace, pass: &Pass, reversed: bool) {
        let [mut source, mut target] = work.values.each_ref();
        self.splat(work, pass, source);
        let d = self.dimensions;
        for step in 0..=d {
            let axis = if reversed { d - step } else { step };
            self.blur(work, axis, source, target);
            std::mem::swap(&mut source, &mut target);
        }
        self.slice(work, pass, source);
    }

    /// Sums the values on the lattice, in fixed point, and leaves them as floats in `to`.
    fn splat(&self, work: &Workspace, pass: &Pass, to: &Handle) {
        let runs = self.runs() * work.channels.div_ceil(BLOCK);
        let buffers = vec![
            pass.values.clone(),
            self.runs.clone(),
            self.sorted[0].clone(),
            pass.weights.clone(),
            work.sums.clone(),
            pass.bound.clone(),
            work.splat.clone(),
        ];
        launch::run(&self.weights, Splat, runs, buffers);
        let cells = self.points * work.channels;
        let buffers = vec![work.sums.clone(), to.clone(), pass.bound.clone(), work.decode.clone()];
        launch::run(&self.weights, Decode, cells, buffers);
    }

    fn blur(&self, work: &Workspace, axis: usize, from: &Handle, to: &Handle) {
        let blocks = self.points * work.channels.div_ceil(BLOCK);
        let buffers = vec![
            from.clone(),
            to.clone(),
            self.neighbours.clone(),
            work.blur[axis].clone(),
        ];
        launch::run(&self.weights, Blur, blocks, buffers);
    }

    fn slice(&self, work: &Workspace, pass: &Pass, from: &Handle) {
        let blocks = self.pixels * work.channels.div_ceil(BLOCK);
        let buffers = vec![
            from.clone(),
            pass.after.clone(),
            self.entries.clone(),
            self.weights.handle.clone(),
            pass.filtered.clone(),
            work.slice.clone(),
        ];
        let kernel = Slice(Dimensions(self.dimensions));
        launch::run(&self.weights, kernel, blocks, buffers);
    }

    /// Computed once.
    pub fn normaliser(&self) -> &Normaliser {
        self.normaliser.get_or_init(|| {
            let like = &self.weights;
            let sums = launch::empty_like(like, [1, self.pixels]);
            // WebGPU forbids to bind one writable buffer under two names.
            let [values, after] = [0; 2].map(|_| launch::filled(like, self.pixels, 1.0));
            let [pixels, plain] = &self.sorted;
            let pass = Pass {
                values: &values,
                weights: plain,
                bound: &launch::filled(like, 1, 1.0),
                after: &after,
                filtered: &sums.handle,
            };
            self.filter(&self.workspace(1, 0), &pass, false);
            let normaliser = inverse_root::<CubeBackend>(sums).handle;
            let entries = self.pixels * (self.dimensions + 1);
            let weights = launch::empty(like, entries);
            let buffers = vec![plain.clone(), pixels.clone(), normaliser.clone(), weights.clone()];
            launch::run_with(like, Normalise, entries, buffers, &[]);
            Normaliser {
                pixels: normaliser,
                weights,
            }
        })
    }
}

/// 1 / sqrt(x + 1e-20), with pydensecrf's constant.
fn inverse_root<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_recip(B::float_sqrt(B::float_add_scalar(x, 1e-20.into())))
}

/// The largest absolute value, `[1]`.
fn largest<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_max(B::float_abs(x))
}

/// Filters values `[C, N]` on their device.
pub fn filter(values: CubeTensor, lattice: &CubeLattice, reversed: bool) -> CubeTensor {
    let values = into_contiguous(values);
    let [c, n] = values.meta.shape().dims();
    let filtered = launch::empty_like(&values, [c, n]);
    let bound = largest::<CubeBackend>(values.clone());
    let after = launch::filled(&values, n, 1.0);
    let pass = Pass {
        values: &values.handle,
        weights: &lattice.sorted[1],
        bound: &bound.handle,
        after: &after,
        filtered: &filtered.handle,
    };
    lattice.filter(&lattice.workspace(c, 0), &pass, reversed);
    filtered
}
