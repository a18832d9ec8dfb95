//! Attention from the pixels of one image to those of another, without the `[B, N, M]` tensors of logits and weights:
//! parts of them pass through one slab of constant size, and the backward pass computes them again.

use burn::backend::Autodiff;
use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeTensor, into_contiguous};
use burn::tensor::{Shape, Tensor};
use cubecl::server::Handle;
use derive_new::new;

use super::Kernels;
use super::cpu::cross_attention::Sizes;
use super::cross_attention_product::launch as launch_product;
use super::launch::{self, shader};
use super::sources::Source;

shader!(
    Logits,
    LogitsSource,
    "../../shaders/cross_attention_logits.wgsl" in blocks
);
shader!(
    Softmax,
    SoftmaxSource,
    "../../shaders/cross_attention_softmax.wgsl"
);
shader!(Attend, AttendSource, "../../shaders/cross_attention.wgsl" in blocks);
shader!(
    Delta,
    DeltaSource,
    "../../shaders/cross_attention_delta.wgsl"
);
shader!(
    BackwardLogits,
    BackwardLogitsSource,
    "../../shaders/cross_attention_backward_logits.wgsl" in blocks
);
shader!(
    BackwardQuery,
    BackwardQuerySource,
    "../../shaders/cross_attention_backward_query.wgsl" in blocks
);
shader!(
    BackwardKey,
    BackwardKeySource,
    "../../shaders/cross_attention_backward_key.wgsl" in blocks
);

/// Most queries, and most keys, of one part: enough to fill a large GPU, and 16 MiB of logits.
const PART: usize = 2048;
/// Queries of one workgroup of the softmax, and its invocations.
const SOFTMAX: (usize, u32) = (32, 256);
/// Bytes from one part's parameters to the next: the coarsest alignment of buffers that WebGPU allows.
const ALIGNMENT: usize = 256;

/// Each query's mean of the values, weighted by softmax over the keys of query · key, without scaling (CIAN Eq. 1–3;
/// MCIS Eq. 2–4), with the gradient of all three.
///
/// `query` `[B, D, N]`, `key` `[B, D, M]`, `value` `[B, V, M]` → `[B, V, N]`. Takes memory in O(B (D + V) (N + M)).
///
/// # Panics
/// Where the shapes do not fit each other or a dimension is 0.
pub fn cross_attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
    let [b, d, n] = query.dims();
    let [_, v, m] = value.dims();
    assert_eq!(key.dims(), [b, d, m], "shape of the keys");
    assert_eq!(value.dims()[0], b, "images of queries and values");
    assert!(
        [b, d, n, v, m].iter().all(|size| *size > 0),
        "cross attention over nothing: query {:?}, value {:?}",
        query.dims(),
        value.dims()
    );
    let (attended, _) = Dispatch::cross_attention(
        query.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
    );
    Tensor::from_dispatch(attended)
}

/// All sources that may be launched.
pub(super) fn sources() -> Vec<Source> {
    [
        Logits::sources(),
        Softmax::sources(),
        Attend::sources(),
        Delta::sources(),
        BackwardLogits::sources(),
        BackwardQuery::sources(),
        BackwardKey::sources(),
    ]
    .concat()
}

/// The sizes by the shapes of query and value.
pub(super) fn sizes(query: &Shape, value: &Shape) -> Sizes {
    Sizes {
        batch: query[0],
        depth: query[1],
        channels: value[1],
        queries: query[2],
        keys: value[2],
    }
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

/// All parts, the keys of a query in order, and their parameters in device memory.
struct Plan {
    parts: Vec<Part>,
    parameters: Handle,
    /// `[images, keys, queries]` of one part.
    slab: Handle,
}

impl Plan {
    fn new(like: &CubeTensor, sizes: Sizes, backward: bool) -> Plan {
        let (queries, keys) = (sizes.queries.min(PART), sizes.keys.min(PART));
        let images = (PART * PART / (queries * keys))
            .min(sizes.batch)
            .min(launch::MAX_WORKGROUPS as usize);
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
        // Uploaded at once: every upload waits for what was launched before it.
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
        Plan {
            parameters: like.client.create_from_slice(bytemuck::cast_slice(&table)),
            slab: like
                .client
                .empty(images * queries * keys * size_of::<f32>()),
            parts,
        }
    }

    /// The parameters of a part whose channels are those of queries and keys (0) or those of values (1).
    fn parameters(&self, part: usize, channels: usize) -> Handle {
        let start = (2 * part + channels) * ALIGNMENT;
        self.parameters.clone().offset_start(start as u64)
    }

    /// Fills the slab with the logits of a part or, in the backward pass, with its weights.
    fn logits(&self, i: usize, query: &CubeTensor, key: &CubeTensor, statistics: &CubeTensor) {
        let part = self.parts[i];
        let buffers = vec![
            key.handle.clone(),
            query.handle.clone(),
            statistics.handle.clone(),
            self.slab.clone(),
            self.parameters(i, 0),
        ];
        let shape = [part.keys, part.queries];
        launch_product(query, Logits, shape, part.images, buffers);
    }
}

pub(super) fn launch_forward(
    query: CubeTensor,
    key: CubeTensor,
    value: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let [query, key, value] = [query, key, value].map(into_contiguous);
    let sizes = sizes(query.meta.shape(), value.meta.shape());
    let Sizes {
        batch: b,
        channels: v,
        queries: n,
        ..
    } = sizes;
    let attended = launch::empty_like(&query, [b, v, n]);
    let statistics = launch::empty_like(&query, [b, 2, n]);
    let scale = launch::empty_like(&query, [b, n]);
    let plan = Plan::new(&query, sizes, false);
    for (i, part) in plan.parts.iter().enumerate() {
        plan.logits(i, &query, &key, &statistics);
        let groups = [part.queries.div_ceil(SOFTMAX.0), 1, part.images];
        let buffers = vec![
            plan.slab.clone(),
            statistics.handle.clone(),
            scale.handle.clone(),
            plan.parameters(i, 0),
        ];
        launch::run_groups(&query, Softmax, SOFTMAX.1, groups, buffers);
        let buffers = vec![
            value.handle.clone(),
            plan.slab.clone(),
            statistics.handle.clone(),
            scale.handle.clone(),
            attended.handle.clone(),
            plan.parameters(i, 1),
        ];
        launch_product(&query, Attend, [v, part.queries], part.images, buffers);
    }
    (attended, statistics)
}

/// What a backward pass needs: query, key, value, attended values, statistics.
pub(super) type Saved<T> = [T; 5];

pub(super) fn launch_backward(
    saved: Saved<CubeTensor>,
    gradient: CubeTensor,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [query, key, value, attended, statistics] = saved.map(into_contiguous);
    let gradient = into_contiguous(gradient);
    let sizes = sizes(query.meta.shape(), value.meta.shape());
    let Sizes {
        batch: b,
        depth: d,
        channels: v,
        queries: n,
        keys: m,
    } = sizes;
    let delta = launch::empty_like(&query, [b, n]);
    let buffers = vec![
        attended.handle.clone(),
        gradient.handle.clone(),
        delta.handle.clone(),
        launch::parameters(&query, b * n, &[v as u32, n as u32]),
    ];
    launch::run(&query, Delta, b * n, buffers);
    let d_query = launch::empty_like(&query, [b, d, n]);
    let d_key = launch::empty_like(&query, [b, d, m]);
    let d_value = launch::empty_like(&query, [b, v, m]);
    let plan = Plan::new(&query, sizes, true);
    let slab = &plan.slab;
    for (i, part) in plan.parts.iter().enumerate() {
        let (by_depth, by_channels) = (plan.parameters(i, 0), plan.parameters(i, 1));
        let sum = |source: &CubeTensor, to: &CubeTensor, parameters: &Handle, rows: usize| {
            let buffers = vec![
                source.handle.clone(),
                slab.clone(),
                to.handle.clone(),
                parameters.clone(),
            ];
            launch_product(&query, BackwardKey, [rows, part.keys], part.images, buffers);
        };
        plan.logits(i, &query, &key, &statistics);
        // The weights are needed here for the last time: the gradient of the logits takes their place.
        sum(&gradient, &d_value, &by_channels, v);
        let buffers = vec![
            value.handle.clone(),
            gradient.handle.clone(),
            delta.handle.clone(),
            slab.clone(),
            by_channels,
        ];
        let shape = [part.keys, part.queries];
        launch_product(&query, BackwardLogits, shape, part.images, buffers);
        sum(&query, &d_key, &by_depth, d);
        let buffers = vec![
            key.handle.clone(),
            slab.clone(),
            d_query.handle.clone(),
            by_depth,
        ];
        launch_product(
            &query,
            BackwardQuery,
            [d, part.queries],
            part.images,
            buffers,
        );
    }
    (d_query, d_key, d_value)
}

#[derive(new, Debug)]
struct Step;

impl<B: Kernels> Backward<B, 3> for Step {
    type State = Saved<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [query, key, value, attended, statistics] = ops.state;
        if ops.parents.iter().all(Option::is_none) {
            return;
        }
        let (d_query, d_key, d_value) =
            B::cross_attention_backward(query, key, value, attended, statistics, gradient);
        launch::register::<B, 3>(
            grads,
            ops.parents.map(|p| Some(p?.id)),
            [d_query, d_key, d_value],
        );
    }
}

pub(super) fn autodiff<B: Kernels, C: CheckpointStrategy>(
    query: FloatTensor<Autodiff<B, C>>,
    key: FloatTensor<Autodiff<B, C>>,
    value: FloatTensor<Autodiff<B, C>>,
) -> (FloatTensor<Autodiff<B, C>>, FloatTensor<B>) {
    let nodes = [query.node(), key.node(), value.node()];
    let (query, key, value) = (
        query.into_primitive(),
        key.into_primitive(),
        value.into_primitive(),
    );
    let (attended, statistics) = B::cross_attention(query.clone(), key.clone(), value.clone());
    let out = match Step::new().prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let saved = [query, key, value, attended.clone(), statistics.clone()];
            prep.finish(saved, attended)
        }
        OpsKind::UnTracked(prep) => prep.finish(attended),
    };
    (out, statistics)
}
