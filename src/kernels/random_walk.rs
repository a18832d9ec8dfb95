//! The random walk that spreads scores along affinities, AffinityNet Eq. 11–12, as a stencil that is applied t
//! times: no H W x H W matrix.

use burn::backend::Autodiff;
use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeTensor, into_contiguous};
use burn::tensor::{Device, Tensor};
use derive_new::new;

use super::launch::{self, shader};
use super::sources::Source;
use super::{Distance, Kernels, offsets, pair_affinity};

shader!(
    RandomWalk,
    RandomWalkSource,
    "../../shaders/random_walk.wgsl"
);

/// Parameters of the random walk.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Pairs closer than this, in feature-map pixels, are neighbours (γ of Eq. 4); paper 5.
    pub radius: usize,
    /// Exponent on the affinities, β of Eq. 11; paper 8. Greater than 0.
    pub beta: f32,
    /// Number of steps t of Eq. 12; paper 256.
    pub steps: usize,
    /// How feature distances are taken over channels (Eq. 3).
    pub distance: Distance,
}

/// Scores after t steps with the transition matrix T = D⁻¹ W^β, D the row sums of W^β (Eq. 11–12).
///
/// `features` `[B, D, H, W]`, `scores` `[B, C, H, W]`, result `[B, C, H, W]`. Every pixel is its own neighbour with
/// affinity 1. Takes memory in O(H W). The scores get a gradient; the affinities are held constant. Images whose
/// affinities together exceed the device's largest buffer walk one after the other; one image whose own do, on the CPU.
///
/// # Panics
/// Where the radius is below 2: there are no neighbours then.
pub fn random_walk(features: Tensor<4>, scores: Tensor<4>, walk: Walk) -> Tensor<4> {
    let room = Dispatch::largest_buffer(scores.clone().into_dispatch());
    walk_within(features, scores, walk, room)
}

/// [`random_walk`] with buffers of at most `room` bytes.
pub(super) fn walk_within(
    features: Tensor<4>,
    scores: Tensor<4>,
    walk: Walk,
    room: usize,
) -> Tensor<4> {
    let [b, _, h, w] = features.dims();
    let image = size_of::<f32>() * offsets(walk.radius).len() * h * w;
    let images = (room / image.max(1)).max(1);
    if b > images {
        let parts = (0..b).step_by(images).map(|first| {
            let count = images.min(b - first);
            let [features, scores] =
                [&features, &scores].map(|x| x.clone().narrow(0, first, count));
            walk_within(features, scores, walk, room)
        });
        return Tensor::cat(parts.collect(), 0);
    }
    let device = scores.device();
    if image > room && !device.is_autodiff() {
        log::warn!(
            "a random walk over {h} x {w} pixels needs a buffer of {} MB, but this device's largest is {} MB: it runs on the CPU",
            image / 1_000_000,
            room / 1_000_000
        );
        let [features, scores] = [features, scores].map(|x| x.to_device(&Device::flex()));
        return walk_within(features, scores, walk, usize::MAX).to_device(&device);
    }
    let weights = pair_affinity(features, walk.radius, walk.distance).powf_scalar(walk.beta);
    let ones = Tensor::<4>::ones([b, 1, h, w], &weights.device());
    // Not the same tensor twice: WebGPU forbids to bind one writable buffer under two names.
    let unscaled = ones.ones_like();
    let row_sums = stencil(weights.clone(), ones, unscaled, walk.radius, 1);
    stencil(weights, scores, row_sums.recip(), walk.radius, walk.steps)
}

fn stencil(
    weights: Tensor<4>,
    scores: Tensor<4>,
    normaliser: Tensor<4>,
    radius: usize,
    steps: usize,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::random_walk(
        weights.into_dispatch(),
        scores.into_dispatch(),
        normaliser.into_dispatch(),
        radius,
        steps,
    ))
}

/// All sources that may be launched.
pub(super) fn sources() -> Vec<Source> {
    RandomWalk::sources()
}

pub(super) fn launch(
    weights: CubeTensor,
    scores: CubeTensor,
    normaliser: CubeTensor,
    radius: usize,
    steps: usize,
) -> CubeTensor {
    let weights = into_contiguous(weights);
    let scores = into_contiguous(scores);
    let normaliser = into_contiguous(normaliser);
    let [b, c, h, w] = launch::dims(scores.meta.shape());
    let n = b * c * h * w;
    let k = offsets(radius).len();
    let parameters = launch::parameters(&scores, n, &[c as u32, h as u32, w as u32, k as u32]);
    let offsets = launch::offsets_buffer(&scores, radius);
    let mut from = scores;
    let mut spare = None;
    for step in 0..steps {
        let to = spare
            .take()
            .unwrap_or_else(|| launch::empty_like(&from, [b, c, h, w]));
        let buffers = vec![
            weights.handle.clone(),
            normaliser.handle.clone(),
            from.handle.clone(),
            to.handle.clone(),
            offsets.clone(),
            parameters.clone(),
        ];
        launch::run(&from, RandomWalk, n, buffers);
        let old = std::mem::replace(&mut from, to);
        // The caller's own scores must stay as they are; every later buffer is ours to write over.
        spare = (step > 0).then_some(old);
    }
    from
}

#[derive(new, Debug)]
struct Step;

impl<B: Kernels> Backward<B, 1> for Step {
    type State = (FloatTensor<B>, FloatTensor<B>, usize, usize);

    /// With N the normaliser, (N W)ᵗ transposed is (W N)ᵗ = N⁻¹ (N W)ᵗ N, as W is symmetric: the same walk.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (weights, normaliser, radius, steps) = ops.state;
        if let Some(node) = parent {
            let scaled = B::float_mul(grad, normaliser.clone());
            let walked = B::random_walk(weights, scaled, normaliser.clone(), radius, steps);
            grads.register::<B>(node.id, B::float_div(walked, normaliser));
        }
    }
}

pub(super) fn autodiff<B: Kernels, C: CheckpointStrategy>(
    weights: FloatTensor<Autodiff<B, C>>,
    scores: FloatTensor<Autodiff<B, C>>,
    normaliser: FloatTensor<Autodiff<B, C>>,
    radius: usize,
    steps: usize,
) -> FloatTensor<Autodiff<B, C>> {
    let (weights, normaliser) = (weights.into_primitive(), normaliser.into_primitive());
    match Step::new()
        .prepare::<C>([scores.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let out = B::random_walk(
                weights.clone(),
                scores.into_primitive(),
                normaliser.clone(),
                radius,
                steps,
            );
            prep.finish((weights, normaliser, radius, steps), out)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::random_walk(
            weights,
            scores.into_primitive(),
            normaliser,
            radius,
            steps,
        )),
    }
}
