//! Building a lattice on a device: a simplex per pixel, a hash table of lattice points, their neighbours, and the entries
//! sorted by point.

use burn::backend::wgpu::{CubeTensor, KernelSource, into_contiguous};
use cubecl::server::Handle;

use super::filter::Factors;
use super::{CubeLattice, Dimensions, constants, most_runs};
use crate::kernels::error::Error;
use crate::kernels::launch::{self, Source, shader};

shader!(Embed, "lattice_embed" of Dimensions);
shader!(Insert, "lattice_insert" of Dimensions);
shader!(Points, "lattice_points");
shader!(Ranges, "lattice_ranges" with constants);
shader!(Sort, "lattice_sort" with constants);
shader!(Neighbours, "lattice_neighbours" of Dimensions);

/// Slots looked at before a table counts as full.
const PROBES: usize = 128;

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [
        Embed::sources(),
        Insert::sources(),
        Points::sources(),
        Ranges::sources(),
        Sort::sources(),
        Neighbours::sources(),
    ]
    .concat()
}

/// Builds the lattice of features `[D, N]` on their device in buffers of at most `most` bytes, with a hash table of so many
/// `slots` at first, a power of two; without a number, what photographs need.
pub fn within(features: CubeTensor, slots: Option<usize>, most: usize) -> Result<CubeLattice, Error> {
    let build = Build::new(features, most);
    // Entries are numbered in 32 bits, and a table has up to four slots for each.
    build.check(4 * build.entries, most.min(u32::MAX as usize))?;
    let simplices = build.embed();
    let (table, points) = build.number(&simplices, slots)?;
    let pairs = 2 * points * (build.dimensions + 1);
    let runs = most_runs(points, build.entries);
    build.check(4 * pairs.max(3 * runs), most)?;
    let (runs, sorted) = build.sort(&simplices, &table, points);
    let neighbours = build.neighbours(&simplices, &table, points);
    Ok(CubeLattice {
        weights: simplices.weights,
        entries: table.vertices,
        runs,
        sorted,
        neighbours,
        dimensions: build.dimensions,
        pixels: build.pixels,
        points,
        factors: Factors::default(),
    })
}

/// What all phases of a build go by.
struct Build {
    features: CubeTensor,
    dimensions: usize,
    pixels: usize,
    /// Vertices of all simplices, (D + 1) N.
    entries: usize,
    most: usize,
}

/// Where every pixel lies.
struct Simplices {
    /// `[D + 1, N]`, barycentric.
    weights: CubeTensor,
    /// `[D, N]` as i32, origin and rank of every coordinate (`lattice_key.wgsl`).
    packed: Handle,
    /// `[3]` as u32: lattice points, vertices that found no slot, pixels with bad features.
    counters: Handle,
}

/// The hash table of lattice points.
struct Table {
    /// Entry + 1 that took the slot, 0 = free.
    slots: Handle,
    /// Lattice point of each slot.
    points: Handle,
    /// Entry that stands for each lattice point.
    owners: Handle,
    /// `[D + 1, N]` as u32: the slot of each vertex and, once sorted, its lattice point.
    vertices: Handle,
    capacity: usize,
}

impl Build {
    fn new(features: CubeTensor, most: usize) -> Build {
        let features = into_contiguous(features);
        let [dimensions, pixels] = features.meta.shape().dims();
        Build {
            features,
            dimensions,
            pixels,
            entries: pixels * (dimensions + 1),
            most,
        }
    }

    /// Errors where the lattice needs a buffer of more bytes than `most`.
    fn check(&self, needed: usize, most: usize) -> Result<(), Error> {
        if needed > most {
            return Err(Error::LatticeTooLarge {
                pixels: self.pixels,
                needed,
                largest: most,
            });
        }
        Ok(())
    }

    /// A buffer for `words` of 32 bits.
    fn empty(&self, words: usize) -> Handle {
        self.features.client.empty(words * 4)
    }

    /// A buffer of `words` of 32 bits, zero.
    fn zeros(&self, words: usize) -> Handle {
        self.features.client.create_from_slice(&vec![0; words * 4])
    }

    fn run<K: KernelSource>(&self, kernel: K, n: usize, buffers: Vec<Handle>, values: &[usize]) {
        let values: Vec<u32> = values.iter().map(|value| *value as u32).collect();
        launch::run_with(&self.features, kernel, n, buffers, &values);
    }

    /// Finds the simplex of every pixel.
    fn embed(&self) -> Simplices {
        let (d, n) = (self.dimensions, self.pixels);
        let simplices = Simplices {
            weights: launch::empty_like(&self.features, [d + 1, n]),
            packed: self.empty(d * n),
            counters: self.zeros(3),
        };
        let buffers = vec![
            self.features.handle.clone(),
            simplices.packed.clone(),
            simplices.weights.handle.clone(),
            simplices.counters.clone(),
        ];
        self.run(Embed(Dimensions(d)), n, buffers, &[]);
        simplices
    }

    /// Gives every vertex a slot, in a table that grows until all find one, and every slot in use a lattice point; and
    /// tells how many these are.
    fn number(&self, simplices: &Simplices, slots: Option<usize>) -> Result<(Table, usize), Error> {
        // At twice the entries every point finds a slot; photographs need far less.
        let largest = (2 * self.entries).next_power_of_two();
        let usual = (self.entries / 2).next_power_of_two().max(1024);
        let mut capacity = slots.unwrap_or(usual).min(largest);
        let vertices = self.empty(self.entries);
        let mut counters = simplices.counters.clone();
        loop {
            self.check(4 * capacity, self.most)?;
            let table = Table {
                slots: self.zeros(capacity),
                points: self.empty(capacity),
                owners: self.empty(capacity),
                vertices: vertices.clone(),
                capacity,
            };
            let probes = if capacity == largest { capacity } else { PROBES };
            let buffers = vec![
                simplices.packed.clone(),
                table.slots.clone(),
                table.points.clone(),
                table.owners.clone(),
                table.vertices.clone(),
                counters.clone(),
            ];
            let insert = Insert(Dimensions(self.dimensions));
            let values = [capacity, probes, self.pixels];
            self.run(insert, self.entries, buffers, &values);
            let [points, failures] = self.count(counters)?;
            if failures == 0 {
                return Ok((table, points as usize));
            }
            if capacity == largest {
                // Every slot was looked at, and there are twice as many as entries.
                return Err(Error::Misread(vec![points, failures]));
            }
            capacity = (4 * capacity).min(largest);
            counters = self.zeros(3);
        }
    }

    /// The number of lattice points, and of vertices that found no slot.
    fn count(&self, counters: Handle) -> Result<[u32; 2], Error> {
        let counts = self.features.client.read_one(counters);
        let counts = counts.map_err(|error| Error::Unread(error.into()))?;
        let counts: &[u32] = bytemuck::cast_slice(&counts);
        let &[points, failures, bad] = counts else {
            return Err(Error::Misread(counts.to_vec()));
        };
        if bad > 0 {
            return Err(Error::BadPixels { pixels: bad as usize });
        }
        Ok([points, failures])
    }

    /// Lists the entries by lattice point, cut into runs: the runs, and pixels and weights in their order.
    fn sort(&self, simplices: &Simplices, table: &Table, points: usize) -> (Handle, [Handle; 2]) {
        let ranges = self.zeros(3 * points);
        let numbers = self.empty(self.entries);
        let buffers = vec![
            table.vertices.clone(),
            table.points.clone(),
            ranges.clone(),
            numbers.clone(),
        ];
        self.run(Points, self.entries, buffers, &[]);
        self.run(Ranges, points, vec![ranges.clone(), self.zeros(2)], &[]);
        let runs = self.zeros(3 * most_runs(points, self.entries));
        let [pixels, weights] = [0; 2].map(|_| self.empty(self.entries));
        let buffers = vec![
            table.vertices.clone(),
            numbers,
            ranges,
            simplices.weights.handle.clone(),
            pixels.clone(),
            weights.clone(),
            runs.clone(),
        ];
        self.run(Sort, self.entries, buffers, &[self.pixels]);
        (runs, [pixels, weights])
    }

    /// Looks both neighbours of every lattice point up, along every axis: `[D + 1, M, 2]`.
    fn neighbours(&self, simplices: &Simplices, table: &Table, points: usize) -> Handle {
        let pairs = 2 * points * (self.dimensions + 1);
        let neighbours = self.empty(pairs);
        let buffers = vec![
            simplices.packed.clone(),
            table.slots.clone(),
            table.points.clone(),
            table.owners.clone(),
            neighbours.clone(),
        ];
        let kernel = Neighbours(Dimensions(self.dimensions));
        self.run(kernel, pairs, buffers, &[table.capacity, points, self.pixels]);
        neighbours
    }
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
        let values: Vec<f32> = (0..5 * 2000).map(|i| 1000.0 * (i as f32 * 12.9898).sin()).collect();
        let lattice = |most: usize| {
            let data = TensorData::new(values.clone(), [5, 2000]);
            within(CubeBackend::float_from_data(data, device), None, most)
        };
        let points = lattice(usize::MAX).unwrap().points;
        assert!(points > 11_000, "{points}");
        let neighbours = 4 * 12 * points;
        assert_eq!(lattice(neighbours).unwrap().points, points);
        // Too little for the neighbours, the table and the entries.
        for most in [neighbours - 1, 20_000, 4 * 12_000 - 1] {
            let error = lattice(most).err().unwrap().to_string();
            assert!(error.contains("2000 pixels needs buffers"), "{error}");
        }
    }
}
