//! Filtering on a device: splat, blur along every axis of the lattice, and slice.

use std::sync::OnceLock;

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use cubecl::server::Handle;

use super::{BLOCK, CubeLattice, Dimensions, constants, most_runs};
use crate::kernels::lattice::Normalisation;
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

/// A factor of every pixel that normalises a filter, where it comes before the filter and where it comes after.
struct Factor {
    /// `[N]`.
    pixels: Handle,
    /// `[(D + 1) N]`, by point: the weight of each vertex times its pixel's factor.
    weights: Handle,
}

/// What normalises a filter, computed where it is first asked for.
#[derive(Default)]
pub struct Factors {
    ones: OnceLock<Handle>,
    /// 1 / (filter of ones + 1e-20), with pydensecrf's constant.
    inverse: OnceLock<Factor>,
    /// Its root.
    root: OnceLock<Factor>,
}

/// What a normalised filter multiplies by.
pub struct Scales {
    /// `[(D + 1) N]`, by point: the weight of each vertex in the splat.
    pub weights: Handle,
    /// `[N]`: factor on the result.
    pub after: Handle,
    /// A bound of the weights.
    pub bound: f32,
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
        let (like, client) = (&self.weights, &self.weights.client);
        let (n, c, m) = (self.pixels as u32, channels as u32, self.points as u32);
        let cells = self.points * channels;
        let factor = 1.0 / (1.0 + 0.5f32.powi(self.dimensions as i32));
        let runs = self.runs() * channels.div_ceil(BLOCK);
        let blocks = self.pixels * channels.div_ceil(BLOCK);
        let blurred = self.points * channels.div_ceil(BLOCK);
        Workspace {
            sums: client.create_from_slice(&vec![0; 8 * cells]),
            values: [client.empty(4 * cells), client.empty(4 * cells)],
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

    /// What a filter multiplies by that is normalised so.
    pub fn scales(&self, normalisation: Normalisation) -> Scales {
        let plain = || self.sorted[1].clone();
        let ones = || self.factors.ones.get_or_init(|| self.ones(self.pixels)).clone();
        let inverse = || (self.factors.inverse).get_or_init(|| self.factor(inverse::<CubeBackend>));
        let root = || (self.factors.root).get_or_init(|| self.factor(inverse_root::<CubeBackend>));
        let (weights, after, bound) = match normalisation {
            Normalisation::None => (plain(), ones(), 1.0),
            Normalisation::After => (plain(), inverse().pixels.clone(), 1.0),
            Normalisation::Before => (inverse().weights.clone(), ones(), self.inverse_bound()),
            // The sum around a pixel is at least alpha |w|², w its weights, so that none over its root exceeds
            // 1 / sqrt(alpha), which is below 1.3: within the room that fixed-point numbers have.
            Normalisation::Symmetric => (root().weights.clone(), root().pixels.clone(), 1.0),
        };
        Scales { weights, after, bound }
    }

    /// The largest w_r / (alpha |w|²) over weights w of D + 1 vertices, whose sum is one: that of w_r = 1 / sqrt(D + 1),
    /// where the others share the rest.
    fn inverse_bound(&self) -> f32 {
        let d = self.dimensions as i32;
        ((d as f32 + 1.0).sqrt() + 1.0) / 2.0 * (1.0 + 0.5f32.powi(d))
    }

    /// The factor that `of_sums` makes of the filter of ones `[1, N]`.
    fn factor(&self, of_sums: impl Fn(CubeTensor) -> CubeTensor) -> Factor {
        let like = &self.weights;
        let sums = launch::empty_like(like, [1, self.pixels]);
        // WebGPU forbids to bind one writable buffer under two names.
        let [values, after] = [0; 2].map(|_| self.ones(self.pixels));
        let [pixels, plain] = &self.sorted;
        let pass = Pass {
            values: &values,
            weights: plain,
            bound: &self.ones(1),
            after: &after,
            filtered: &sums.handle,
        };
        self.filter(&self.workspace(1, 0), &pass, false);
        let factor = of_sums(sums).handle;
        let entries = self.pixels * (self.dimensions + 1);
        let weights = like.client.empty(entries * 4);
        let buffers = vec![plain.clone(), pixels.clone(), factor.clone(), weights.clone()];
        launch::run_with(like, Normalise, entries, buffers, &[]);
        Factor {
            pixels: factor,
            weights,
        }
    }

    /// A buffer of `count` ones.
    fn ones(&self, count: usize) -> Handle {
        let ones = vec![1f32; count];
        self.weights.client.create_from_slice(bytemuck::cast_slice(&ones))
    }
}

/// 1 / (x + 1e-20).
fn inverse<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_recip(B::float_add_scalar(x, 1e-20.into()))
}

/// 1 / sqrt(x + 1e-20).
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
    let after = lattice.ones(n);
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
