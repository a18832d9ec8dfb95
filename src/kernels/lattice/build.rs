//! Building a lattice on a device: a simplex per pixel, a hash table of lattice points, their neighbours, and the entries
//! sorted by point.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, bail, ensure};
use burn::backend::wgpu::{CubeTensor, into_contiguous};
use cubecl::server::Handle;
use derive_new::new;

use super::{CubeLattice, Lattice, MOST_DIMENSIONS, Storage, most_runs};
use crate::kernels::launch::{self, shader};
use crate::kernels::sources::Source;

shader!(Embed, EmbedSource, "../../../shaders/lattice_embed.wgsl" over dimensions);
shader!(Insert, InsertSource, "../../../shaders/lattice_insert.wgsl" over dimensions);
shader!(Points, PointsSource, "../../../shaders/lattice_points.wgsl");
shader!(Ranges, RangesSource, "../../../shaders/lattice_ranges.wgsl");
shader!(Sort, SortSource, "../../../shaders/lattice_sort.wgsl");
shader!(Neighbours, NeighboursSource, "../../../shaders/lattice_neighbours.wgsl" over dimensions);

/// Slots looked at before a table counts as full.
const PROBES: usize = 128;

/// All sources that may be launched.
pub(super) fn sources() -> Vec<Source> {
    [
        Embed::sources(MOST_DIMENSIONS),
        Insert::sources(MOST_DIMENSIONS),
        Points::sources(),
        Ranges::sources(),
        Sort::sources(),
        Neighbours::sources(MOST_DIMENSIONS),
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
pub(in crate::kernels) fn build(features: CubeTensor, slots: Option<usize>) -> Result<Lattice> {
    let most = features.client.properties().memory.max_page_size;
    within(features, slots, usize::try_from(most).unwrap_or(usize::MAX))
}

/// Errors where a lattice over `n` pixels needs a buffer of more bytes than `most`.
fn check(n: usize, bytes: usize, most: usize) -> Result<()> {
    ensure!(
        bytes <= most,
        "a lattice over {n} pixels needs buffers of {:.1} MB, but this device's largest is {:.1} MB: scale the image down or use --device cpu",
        bytes as f64 / 1e6,
        most as f64 / 1e6
    );
    Ok(())
}

/// [`build`] in buffers of at most `most` bytes.
fn within(features: CubeTensor, slots: Option<usize>, most: usize) -> Result<Lattice> {
    let features = into_contiguous(features);
    let (d, n) = (features.meta.shape()[0], features.meta.shape()[1]);
    let entries = n * (d + 1);
    let client = features.client.clone();
    // Entries are numbered in 32 bits, and a table has up to four slots for each.
    check(n, 4 * entries, most.min(u32::MAX as usize))?;
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
        check(n, 4 * capacity, most)?;
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
    let pairs = 2 * points * (d + 1);
    check(n, 4 * pairs.max(3 * most_runs(points, entries)), most)?;
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

#[cfg(test)]
mod tests {
    use burn::backend::DispatchDevice;
    use burn::backend::ops::FloatTensorOps;
    use burn::backend::wgpu::CubeBackend;
    use burn::tensor::TensorData;

    use super::*;
    use crate::device::{Choice, choose};

    #[test]
    fn noise_that_needs_larger_buffers_than_there_are_is_an_error() {
        let device = choose(Choice::Vulkan).unwrap().device;
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            panic!("{device:?} has no kernels");
        };
        // No two of 2,000 pixels share a lattice point: 12,000 entries, as many points, 12 neighbours of each.
        let values: Vec<f32> = (0..5 * 2000)
            .map(|i| 1000.0 * (i as f32 * 12.9898).sin())
            .collect();
        let lattice = |most: usize| {
            let data = TensorData::new(values.clone(), [5, 2000]);
            within(CubeBackend::float_from_data(data, device), None, most)
        };
        let points = lattice(usize::MAX).unwrap().points();
        assert!(points > 11_000, "{points}");
        let neighbours = 4 * 12 * points;
        assert_eq!(lattice(neighbours).unwrap().points(), points);
        // Too little for the neighbours, the table and the entries.
        for most in [neighbours - 1, 20_000, 4 * 12_000 - 1] {
            let error = lattice(most).unwrap_err().to_string();
            assert!(error.contains("2000 pixels needs buffers"), "{error}");
        }
    }
}
