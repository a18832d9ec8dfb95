//! Affinity of every pair of pixels within a radius, AffinityNet Eq. 3–4, without the `[B, D, K, H W]` tensor of
//! differences that the plain formulation builds.

use burn::backend::Autodiff;
use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeTensor, into_contiguous};
use burn::tensor::Tensor;
use derive_new::new;

use super::launch::{self, shader};
use super::sources::Source;
use super::{Kernels, offsets};

shader!(
    PairAffinity,
    PairAffinitySource,
    "../../shaders/pair_affinity.wgsl"
);
shader!(
    PairAffinityBackward,
    PairAffinityBackwardSource,
    "../../shaders/pair_affinity_backward.wgsl"
);

/// How the L1 distance of two feature vectors is taken over the D channels (Eq. 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// The mean over channels: the authors' released code.
    Mean,
    /// The sum over channels: the paper's text.
    Sum,
}

impl Distance {
    /// The factor on the sum of absolute differences over `channels`.
    pub fn scale(self, channels: usize) -> f32 {
        match self {
            Distance::Mean => 1.0 / channels as f32,
            Distance::Sum => 1.0,
        }
    }
}

/// Affinities W = exp(-‖f_i - f_j‖₁) (Eq. 3) of all pairs closer than `radius` (Eq. 4), with the gradient of the
/// features.
///
/// `features` is `[B, D, H, W]`; the result is `[B, K, H, W]` in (0, 1], where entry `[b, k, y, x]` belongs to the
/// pixel (y, x) and its partner at `offsets(radius)[k]`, and is 0 where the partner lies outside of the image.
///
/// # Panics
/// Where `radius` is below 2: there are no pairs then.
pub fn pair_affinity(features: Tensor<4>, radius: usize, distance: Distance) -> Tensor<4> {
    assert!(radius >= 2, "a radius of {radius} has no pairs");
    let scale = distance.scale(features.dims()[1]);
    Tensor::from_dispatch(Dispatch::pair_affinity(
        features.into_dispatch(),
        radius,
        scale,
    ))
}

/// All sources that may be launched.
pub(super) fn sources() -> Vec<Source> {
    [PairAffinity::sources(), PairAffinityBackward::sources()].concat()
}

pub(super) fn launch_forward(features: CubeTensor, radius: usize, scale: f32) -> CubeTensor {
    let features = into_contiguous(features);
    let [b, d, h, w] = launch::dims(features.meta.shape());
    let k = offsets(radius).len();
    let out = launch::empty_like(&features, [b, k, h, w]);
    let n = b * k * h * w;
    let parameters = launch::parameters(
        &features,
        n,
        &[d as u32, h as u32, w as u32, k as u32, scale.to_bits()],
    );
    let buffers = vec![
        features.handle.clone(),
        out.handle.clone(),
        launch::offsets_buffer(&features, radius),
        parameters,
    ];
    launch::run(&features, PairAffinity, n, buffers);
    out
}

pub(super) fn launch_backward(
    features: CubeTensor,
    slope: CubeTensor,
    radius: usize,
) -> CubeTensor {
    let (features, slope) = (into_contiguous(features), into_contiguous(slope));
    let [b, d, h, w] = launch::dims(features.meta.shape());
    let k = offsets(radius).len();
    let out = launch::empty_like(&features, [b, d, h, w]);
    let n = b * d * h * w;
    let parameters = launch::parameters(&features, n, &[d as u32, h as u32, w as u32, k as u32]);
    let buffers = vec![
        features.handle.clone(),
        slope.handle.clone(),
        out.handle.clone(),
        launch::offsets_buffer(&features, radius),
        parameters,
    ];
    launch::run(&features, PairAffinityBackward, n, buffers);
    out
}

#[derive(new, Debug)]
struct Step;

impl<B: Kernels> Backward<B, 1> for Step {
    type State = (FloatTensor<B>, FloatTensor<B>, usize, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (features, affinity, radius, scale) = ops.state;
        if let Some(node) = parent {
            // dW/d(distance) = -W, and the distance is scale times the sum of absolute differences.
            let slope = B::float_mul_scalar(B::float_mul(grad, affinity), (-scale).into());
            grads.register::<B>(node.id, B::pair_affinity_backward(features, slope, radius));
        }
    }
}

pub(super) fn autodiff<B: Kernels, C: CheckpointStrategy>(
    features: FloatTensor<Autodiff<B, C>>,
    radius: usize,
    scale: f32,
) -> FloatTensor<Autodiff<B, C>> {
    match Step::new()
        .prepare::<C>([features.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let features = features.into_primitive();
            let affinity = B::pair_affinity(features.clone(), radius, scale);
            prep.finish((features, affinity.clone(), radius, scale), affinity)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(B::pair_affinity(features.into_primitive(), radius, scale))
        }
    }
}
