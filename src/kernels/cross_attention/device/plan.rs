//! The parts that cross attention is computed in, and what is launched for each.

use burn::backend::wgpu::CubeTensor;
use cubecl::server::Handle;

use super::product::{self, Block};
use crate::kernels::cross_attention::Sizes;
use crate::kernels::launch::{self, Source, shader};

shader!(Logits, "cross_attention_logits" of Block);
shader!(Softmax, "cross_attention_softmax");
shader!(Attend, "cross_attention" of Block);
shader!(BackwardLogits, "cross_attention_backward_logits" of Block);
shader!(BackwardQuery, "cross_attention_backward_query" of Block);
shader!(BackwardKey, "cross_attention_backward_key" of Block);

/// Most queries, and most keys, of one part: enough to fill a large GPU, and 16 MiB of logits.
const PART: usize = 2048;
/// Queries of one workgroup of the softmax, and its invocations.
const SOFTMAX: (usize, u32) = (32, 256);
/// Bytes from one part's parameters to the next: the coarsest alignment of buffers that WebGPU allows.
const ALIGNMENT: usize = 256;

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    [
        Logits::sources(),
        Softmax::sources(),
        Attend::sources(),
        BackwardLogits::sources(),
        BackwardQuery::sources(),
        BackwardKey::sources(),
    ]
    .concat()
}

/// A part of images, queries and keys, whose logits fit the slab.
#[derive(Clone, Copy)]
struct Part {
    image: usize,
    images: usize,
    query: usize,
    queries: usize,
    key: usize,
    keys: usize,
}

/// What the rows of a tensor are that is multiplied.
#[derive(Clone, Copy)]
pub enum Rows {
    /// The D channels of queries and keys.
    Depth,
    /// The V channels of values.
    Channels,
}

/// All parts, the keys of a query in order, and their parameters in device memory.
pub struct Plan {
    parts: Vec<Part>,
    parameters: Handle,
    /// `[images, keys, queries]` of one part.
    slab: Handle,
    like: CubeTensor,
}

impl Plan {
    /// Parts for tensors of such `sizes` beside `like`, for a forward or a `backward` pass.
    pub fn new(like: &CubeTensor, sizes: Sizes, backward: bool) -> Plan {
        let (queries, keys) = (sizes.queries.min(PART), sizes.keys.min(PART));
        let images = (PART * PART / (queries * keys))
            .min(sizes.batch)
            .min(launch::MAX_WORKGROUPS as usize);
        let parts = parts(sizes, [images, queries, keys]);
        let table = table(&parts, sizes, backward);
        let client = &like.client;
        Plan {
            // Uploaded at once: every upload waits for what was launched before it.
            parameters: client.create_from_slice(bytemuck::cast_slice(&table)),
            slab: launch::empty(like, images * queries * keys),
            parts,
            like: like.clone(),
        }
    }

    /// Number of parts.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    fn parameters(&self, part: usize, rows: Rows) -> Handle {
        let start = (2 * part + rows as usize) * ALIGNMENT;
        self.parameters.clone().offset_start(start as u64)
    }

    /// Fills the slab with the logits of a part or, in the backward pass, with its weights.
    pub fn logits(&self, i: usize, query: &CubeTensor, key: &CubeTensor, statistics: &CubeTensor) {
        let part = self.parts[i];
        let buffers = vec![
            key.handle.clone(),
            query.handle.clone(),
            statistics.handle.clone(),
            self.slab.clone(),
            self.parameters(i, Rows::Depth),
        ];
        let shape = [part.keys, part.queries];
        product::launch(&self.like, Logits, shape, part.images, buffers);
    }

    /// Leaves exponentials in the slab; `statistics` go on with the part, and `scale` is what the values attended so far
    /// have to be multiplied by.
    pub fn softmax(&self, i: usize, statistics: &CubeTensor, scale: &CubeTensor) {
        let part = self.parts[i];
        let buffers = vec![
            self.slab.clone(),
            statistics.handle.clone(),
            scale.handle.clone(),
            self.parameters(i, Rows::Depth),
        ];
        let groups = [part.queries.div_ceil(SOFTMAX.0), 1, part.images];
        launch::run_groups(&self.like, Softmax, SOFTMAX.1, groups, buffers);
    }

    /// Adds the part's values, weighted by the slab, to the `attended` ones.
    pub fn attend(&self, i: usize, value: &CubeTensor, [statistics, scale]: [&CubeTensor; 2], attended: &CubeTensor) {
        let part = self.parts[i];
        let buffers = vec![
            value.handle.clone(),
            self.slab.clone(),
            statistics.handle.clone(),
            scale.handle.clone(),
            attended.handle.clone(),
            self.parameters(i, Rows::Channels),
        ];
        let shape = [value.meta.shape()[1], part.queries];
        product::launch(&self.like, Attend, shape, part.images, buffers);
    }

    /// Puts the gradient of the logits in the place of the weights in the slab.
    pub fn logits_backward(&self, i: usize, value: &CubeTensor, gradient: &CubeTensor, delta: &CubeTensor) {
        let part = self.parts[i];
        let buffers = vec![
            value.handle.clone(),
            gradient.handle.clone(),
            delta.handle.clone(),
            self.slab.clone(),
            self.parameters(i, Rows::Channels),
        ];
        let shape = [part.keys, part.queries];
        product::launch(&self.like, BackwardLogits, shape, part.images, buffers);
    }

    /// Adds the sums over the part's queries of slab times `source` `[B, rows, N]` to `to` `[B, rows, M]`.
    pub fn add_over_queries(&self, i: usize, rows: Rows, source: &CubeTensor, to: &CubeTensor) {
        let part = self.parts[i];
        let buffers = vec![
            source.handle.clone(),
            self.slab.clone(),
            to.handle.clone(),
            self.parameters(i, rows),
        ];
        let shape = [source.meta.shape()[1], part.keys];
        product::launch(&self.like, BackwardKey, shape, part.images, buffers);
    }

    /// Adds the sums over the part's keys of slab times `key` `[B, D, M]` to `to` `[B, D, N]`.
    pub fn add_over_keys(&self, i: usize, key: &CubeTensor, to: &CubeTensor) {
        let part = self.parts[i];
        let buffers = vec![
            key.handle.clone(),
            self.slab.clone(),
            to.handle.clone(),
            self.parameters(i, Rows::Depth),
        ];
        let shape = [key.meta.shape()[1], part.queries];
        product::launch(&self.like, BackwardQuery, shape, part.images, buffers);
    }
}

/// Everything in parts of at most so many images, queries and keys.
fn parts(sizes: Sizes, [images, queries, keys]: [usize; 3]) -> Vec<Part> {
    let mut parts = Vec::new();
    for image in (0..sizes.batch).step_by(images) {
        for query in (0..sizes.queries).step_by(queries) {
            for key in (0..sizes.keys).step_by(keys) {
                parts.push(Part {
                    image,
                    images: images.min(sizes.batch - image),
                    query,
                    queries: queries.min(sizes.queries - query),
                    key,
                    keys: keys.min(sizes.keys - key),
                });
            }
        }
    }
    parts
}

/// The parameters of each part, first for [`Rows::Depth`], then for [`Rows::Channels`].
fn table(parts: &[Part], sizes: Sizes, backward: bool) -> Vec<u32> {
    let words = ALIGNMENT / size_of::<u32>();
    let mut table = vec![0u32; 2 * parts.len() * words];
    for (row, entries) in table.chunks_exact_mut(words).enumerate() {
        let part = parts[row / 2];
        let channels = [sizes.depth, sizes.channels][row % 2];
        let row = [
            sizes.queries,
            sizes.keys,
            channels,
            part.query,
            part.key,
            part.queries,
            part.keys,
            part.image,
            usize::from(backward),
        ];
        for (entry, value) in entries.iter_mut().zip(row) {
            *entry = value as u32;
        }
    }
    table
}
