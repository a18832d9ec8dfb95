//! The permutohedral lattice (Adams et al. 2010; constants of Krähenbühl and Koltun 2011): Gaussian filtering in
//! feature spaces of many dimensions, in time and memory linear in pixels.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, bail, ensure};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::backend::{Autodiff, Backend, Dispatch};
use burn::tensor::Tensor;
use cubecl::server::Handle;
use derive_new::new;

use super::launch::{self, shader};
use super::sources::Source;
use super::{Compatibility, Kernels, cpu};

shader!(Embed, EmbedSource, "../../shaders/lattice_embed.wgsl" over dimensions);
shader!(Insert, InsertSource, "../../shaders/lattice_insert.wgsl" over dimensions);
shader!(Points, PointsSource, "../../shaders/lattice_points.wgsl");
shader!(Ranges, RangesSource, "../../shaders/lattice_ranges.wgsl");
shader!(Sort, SortSource, "../../shaders/lattice_sort.wgsl");
shader!(
    Normalise,
    NormaliseSource,
    "../../shaders/lattice_normalise.wgsl"
);
shader!(Neighbours, NeighboursSource, "../../shaders/lattice_neighbours.wgsl" over dimensions);
shader!(Splat, SplatSource, "../../shaders/lattice_splat.wgsl");
shader!(Decode, DecodeSource, "../../shaders/lattice_decode.wgsl");
shader!(Blur, BlurSource, "../../shaders/lattice_blur.wgsl");
shader!(Slice, SliceSource, "../../shaders/lattice_slice.wgsl" over dimensions);

/// Most feature dimensions: ranks are kept in four bits.
const MOST_DIMENSIONS: usize = 15;
/// Slots looked at before a table counts as full.
const PROBES: usize = 128;

/// A permutohedral lattice over the features of N pixels, built once and used for any number of filters.
#[derive(Clone)]
pub struct Lattice(Arc<Storage>);

enum Storage {
    Cpu(cpu::lattice::Lattice, OnceLock<Vec<f32>>),
    Cube(Box<CubeLattice>),
}

/// A lattice in device memory.
pub(super) struct CubeLattice {
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
    normaliser: OnceLock<Normaliser>,
}

/// What normalises a filter symmetrically.
pub(super) struct Normaliser {
    /// `[N]`: 1 / sqrt(filter of ones).
    pub pixels: Handle,
    /// `[(D + 1) N]`, by point: the weight of each vertex times its pixel's normaliser.
    pub weights: Handle,
}

impl std::fmt::Debug for Lattice {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            f,
            "Lattice of {} points over {} pixels",
            self.points(),
            self.pixels()
        )
    }
}

impl Lattice {
    /// The lattice of features `[D, N]`, D of 1 to 15, each divided by its standard deviation.
    ///
    /// Takes memory in O(N D). On a device, waits for the number of points.
    ///
    /// # Errors
    /// On features that are not finite or too far out to be told apart in f32, on other D, and where the device's
    /// buffers are too small for so many pixels.
    pub fn new(features: Tensor<2>) -> Result<Lattice> {
        let [d, n] = features.dims();
        ensure!(
            (1..=MOST_DIMENSIONS).contains(&d),
            "a lattice over {d} feature dimensions: use 1 to {MOST_DIMENSIONS}"
        );
        ensure!(n > 0, "a lattice over no pixels");
        Dispatch::lattice(features.into_dispatch(), None)
    }

    /// [`Lattice::new`] on valid features with a table that begins with `slots`, a power of two, and has to grow.
    #[cfg(test)]
    pub(super) fn with_slots(features: Tensor<2>, slots: usize) -> Result<Lattice> {
        Dispatch::lattice(features.into_dispatch(), Some(slots))
    }

    /// Values `[C, N]` → their Gaussian-weighted sums over all pixels `[C, N]`, not normalised, with gradient.
    ///
    /// The lattice approximates exp(-‖f_i - f_j‖² / 2) up to a constant factor of about a half, which is a property
    /// of the method. The filter is symmetric up to the order of its blurs; the gradient uses the exact transpose.
    ///
    /// # Panics
    /// Where the values are of another number of pixels or on another device than the lattice.
    pub fn filter(&self, values: Tensor<2>) -> Tensor<2> {
        assert_eq!(
            values.dims()[1],
            self.pixels(),
            "pixels of values and lattice"
        );
        Tensor::from_dispatch(Dispatch::lattice_filter(
            values.into_dispatch(),
            self.clone(),
            false,
        ))
    }

    /// Number of pixels N.
    pub fn pixels(&self) -> usize {
        match &*self.0 {
            Storage::Cpu(lattice, _) => lattice.pixels(),
            Storage::Cube(lattice) => lattice.pixels,
        }
    }

    /// Number of lattice points M.
    pub fn points(&self) -> usize {
        match &*self.0 {
            Storage::Cpu(lattice, _) => lattice.points(),
            Storage::Cube(lattice) => lattice.points,
        }
    }

    /// Whether mean-field inference with so many labels and kernels fits the buffers of the lattice's device.
    ///
    /// # Errors
    /// Names the buffer that is too large, and the largest.
    pub fn check_room(&self, labels: usize, kernels: usize) -> Result<()> {
        let Storage::Cube(lattice) = &*self.0 else {
            return Ok(());
        };
        let most = lattice.weights.client.properties().memory.max_page_size;
        let messages = 4 * kernels * labels * lattice.pixels;
        let needed = messages.max(8 * labels * lattice.points) as u64;
        ensure!(
            needed <= most,
            "{labels} labels on {} pixels need a buffer of {} MB, but this device's largest is {} MB: give fewer labels or use --device cpu",
            lattice.pixels,
            needed / 1_000_000,
            most / 1_000_000
        );
        Ok(())
    }

    pub(super) fn from_cpu(lattice: cpu::lattice::Lattice) -> Lattice {
        Lattice(Arc::new(Storage::Cpu(lattice, OnceLock::new())))
    }

    /// The CPU twin and its normaliser. Panics where the lattice is on another device: a mistake in the caller.
    pub(super) fn cpu(&self) -> (&cpu::lattice::Lattice, &[f32]) {
        match &*self.0 {
            Storage::Cpu(lattice, normaliser) => {
                let normaliser = normaliser.get_or_init(|| cpu::mean_field::normaliser(lattice));
                (lattice, normaliser)
            }
            Storage::Cube(_) => panic!("the lattice was built on another device"),
        }
    }

    /// The CPU twin of a pairwise kernel on this lattice.
    pub(super) fn kernel(&self, compatibility: Compatibility) -> cpu::mean_field::Kernel<'_> {
        let (lattice, normaliser) = self.cpu();
        cpu::mean_field::Kernel {
            lattice,
            normaliser,
            compatibility,
        }
    }

    /// The lattice in device memory. Panics where it is on the CPU: a mistake in the caller.
    pub(super) fn cube(&self) -> &CubeLattice {
        match &*self.0 {
            Storage::Cube(lattice) => lattice,
            Storage::Cpu(..) => panic!("the lattice was built on another device"),
        }
    }
}

/// All sources that may be launched.
pub(super) fn sources() -> Vec<Source> {
    [
        Embed::sources(MOST_DIMENSIONS),
        Insert::sources(MOST_DIMENSIONS),
        Points::sources(),
        Ranges::sources(),
        Sort::sources(),
        Normalise::sources(),
        Neighbours::sources(MOST_DIMENSIONS),
        Splat::sources(),
        Decode::sources(),
        Blur::sources(),
        Slice::sources(MOST_DIMENSIONS),
    ]
    .concat()
}

/// The hash table while a lattice is built.
struct Table {
    /// Entry + 1 that took the slot, 0 = free.
    slots: Handle,
    /// Lattice point of each slot.
    points: Handle,
    /// Entry that stands for each lattice point.
    owners: Handle,
    capacity: usize,
}

/// Builds the lattice of features `[D, N]` on their device, with a hash table of so many `slots` at first, a power of two;
/// without a number, what photographs need.
pub(super) fn build(features: CubeTensor, slots: Option<usize>) -> Result<Lattice> {
    let features = into_contiguous(features);
    let (d, n) = (features.meta.shape()[0], features.meta.shape()[1]);
    let entries = n * (d + 1);
    let client = features.client.clone();
    let most = client.properties().memory.max_page_size as usize;
    ensure!(
        entries * 4 <= most && entries < u32::MAX as usize / 2,
        "a lattice over {n} pixels needs buffers of {} MB, but this device's largest is {} MB: scale the image down or use --device cpu",
        entries * 4 / 1_000_000,
        most / 1_000_000
    );
    let weights = launch::empty_like(&features, [d + 1, n]);
    let simplex = client.empty(n * d * 4);
    let mut counters = client.create_from_slice(&[0; 12]);
    launch::run(
        &features,
        Embed(d),
        n,
        vec![
            features.handle.clone(),
            simplex.clone(),
            weights.handle.clone(),
            counters.clone(),
            launch::parameters(&features, n, &[]),
        ],
    );
    let vertices = client.empty(entries * 4);
    // At twice the entries every point finds a slot; photographs need far less.
    let largest = (2 * entries).next_power_of_two();
    let usual = (entries / 2).next_power_of_two().max(1024);
    let mut capacity = slots.unwrap_or(usual).min(largest);
    let (table, points) = loop {
        let table = Table {
            slots: client.create_from_slice(&vec![0; capacity * 4]),
            points: client.empty(capacity * 4),
            owners: client.empty(capacity * 4),
            capacity,
        };
        let probes = if capacity == largest {
            capacity
        } else {
            PROBES
        };
        launch::run(
            &features,
            Insert(d),
            entries,
            vec![
                simplex.clone(),
                table.slots.clone(),
                table.points.clone(),
                table.owners.clone(),
                vertices.clone(),
                counters.clone(),
                launch::parameters(
                    &features,
                    entries,
                    &[capacity as u32, probes as u32, n as u32],
                ),
            ],
        );
        let counts = client
            .read_one(counters.clone())
            .context("reading the size of a lattice")?;
        let counts: &[u32] = bytemuck::cast_slice(&counts);
        let &[points, failures, bad] = counts else {
            bail!("reading the size of a lattice: the device returned {counts:?}");
        };
        ensure!(
            bad == 0,
            "the features of {bad} pixels are not numbers or too far out: divide them by larger deviations"
        );
        if failures == 0 {
            break (table, points as usize);
        }
        capacity = (4 * capacity).min(largest);
        counters = client.create_from_slice(&[0; 12]);
    };
    let ranges = client.create_from_slice(&vec![0; 3 * points * 4]);
    let numbers = client.empty(entries * 4);
    launch::run(
        &features,
        Points,
        entries,
        vec![
            vertices.clone(),
            table.points.clone(),
            ranges.clone(),
            numbers.clone(),
            launch::parameters(&features, entries, &[]),
        ],
    );
    launch::run(
        &features,
        Ranges,
        points,
        vec![
            ranges.clone(),
            client.create_from_slice(&[0; 8]),
            launch::parameters(&features, points, &[]),
        ],
    );
    let runs = client.create_from_slice(&vec![0; 3 * most_runs(points, entries) * 4]);
    let sorted = [0; 2].map(|_| client.empty(entries * 4));
    let [sorted_pixels, sorted_weights] = sorted.clone();
    launch::run(
        &features,
        Sort,
        entries,
        vec![
            vertices.clone(),
            numbers,
            ranges,
            weights.handle.clone(),
            sorted_pixels,
            sorted_weights,
            runs.clone(),
            launch::parameters(&features, entries, &[n as u32]),
        ],
    );
    let pairs = 2 * points * (d + 1);
    let neighbours = client.empty(pairs * 4);
    launch::run(
        &features,
        Neighbours(d),
        pairs,
        vec![
            simplex,
            table.slots,
            table.points,
            table.owners,
            neighbours.clone(),
            launch::parameters(
                &features,
                pairs,
                &[table.capacity as u32, points as u32, n as u32],
            ),
        ],
    );
    Ok(Lattice(Arc::new(Storage::Cube(Box::new(CubeLattice {
        weights,
        entries: vertices,
        runs,
        sorted,
        neighbours,
        dimensions: d,
        pixels: n,
        points,
        normaliser: OnceLock::new(),
    })))))
}

/// A bound of the runs of at most [`launch::RUN`] entries that the entries of `points` are cut into.
fn most_runs(points: usize, entries: usize) -> usize {
    points + entries / launch::RUN
}

/// What filters of one number of channels share: the sums on the lattice, two buffers that the blur goes between, and
/// the parameters of every launch. Uploading those anew would cut the device's work into pieces.
pub(super) struct Workspace {
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
pub(super) struct Pass<'a> {
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
    pub(super) fn workspace(&self, channels: usize, start: usize) -> Workspace {
        let (like, client) = (&self.weights, &self.weights.client);
        let (n, c, m) = (self.pixels as u32, channels as u32, self.points as u32);
        let cells = self.points * channels;
        let factor = 1.0 / (1.0 + 0.5f32.powi(self.dimensions as i32));
        let runs = self.runs() * channels.div_ceil(launch::BLOCK);
        let blocks = self.pixels * channels.div_ceil(launch::BLOCK);
        let blurred = self.points * channels.div_ceil(launch::BLOCK);
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
    pub(super) fn filter(&self, work: &Workspace, pass: &Pass, reversed: bool) {
        let like = &self.weights;
        let (d, cells) = (self.dimensions, self.points * work.channels);
        let [runs, blocks, blurred] = [self.runs(), self.pixels, self.points]
            .map(|n| n * work.channels.div_ceil(launch::BLOCK));
        launch::run(
            like,
            Splat,
            runs,
            vec![
                pass.values.clone(),
                self.runs.clone(),
                self.sorted[0].clone(),
                pass.weights.clone(),
                work.sums.clone(),
                pass.bound.clone(),
                work.splat.clone(),
            ],
        );
        let [mut source, mut target] = work.values.each_ref();
        launch::run(
            like,
            Decode,
            cells,
            vec![
                work.sums.clone(),
                source.clone(),
                pass.bound.clone(),
                work.decode.clone(),
            ],
        );
        for step in 0..=d {
            let axis = if reversed { d - step } else { step };
            launch::run(
                like,
                Blur,
                blurred,
                vec![
                    source.clone(),
                    target.clone(),
                    self.neighbours.clone(),
                    work.blur[axis].clone(),
                ],
            );
            std::mem::swap(&mut source, &mut target);
        }
        launch::run(
            like,
            Slice(d),
            blocks,
            vec![
                source.clone(),
                pass.after.clone(),
                self.entries.clone(),
                self.weights.handle.clone(),
                pass.filtered.clone(),
                work.slice.clone(),
            ],
        );
    }

    /// Computed once.
    pub(super) fn normaliser(&self) -> &Normaliser {
        self.normaliser.get_or_init(|| {
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
            let normaliser = inverse_root::<CubeBackend>(sums).handle;
            let entries = self.pixels * (self.dimensions + 1);
            let weights = like.client.empty(entries * 4);
            launch::run(
                like,
                Normalise,
                entries,
                vec![
                    plain.clone(),
                    pixels.clone(),
                    normaliser.clone(),
                    weights.clone(),
                    launch::parameters(like, entries, &[]),
                ],
            );
            Normaliser {
                pixels: normaliser,
                weights,
            }
        })
    }

    /// A buffer of `count` ones.
    pub(super) fn ones(&self, count: usize) -> Handle {
        let ones = vec![1f32; count];
        self.weights
            .client
            .create_from_slice(bytemuck::cast_slice(&ones))
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
pub(super) fn filter(values: CubeTensor, lattice: &Lattice, reversed: bool) -> CubeTensor {
    let lattice = lattice.cube();
    let values = into_contiguous(values);
    let (c, n) = (values.meta.shape()[0], values.meta.shape()[1]);
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

#[derive(new, Debug)]
struct Filter;

impl<B: Kernels> Backward<B, 1> for Filter {
    type State = (Lattice, bool);

    /// The transpose of splat, blurs and slice is the same with the blurs in the opposite order.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (lattice, reversed) = ops.state;
        if let Some(node) = parent {
            grads.register::<B>(node.id, B::lattice_filter(grad, lattice, !reversed));
        }
    }
}

pub(super) fn autodiff<B: Kernels, C: CheckpointStrategy>(
    values: FloatTensor<Autodiff<B, C>>,
    lattice: Lattice,
    reversed: bool,
) -> FloatTensor<Autodiff<B, C>> {
    match Filter::new()
        .prepare::<C>([values.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let out = B::lattice_filter(values.into_primitive(), lattice.clone(), reversed);
            prep.finish((lattice, reversed), out)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::lattice_filter(
            values.into_primitive(),
            lattice,
            reversed,
        )),
    }
}
