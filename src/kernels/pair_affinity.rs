//! Affinity of every pair of pixels within a radius, AffinityNet Eq. 3–4, without the `[B, D, K, H W]` tensor of
//! differences that the plain formulation builds.

use burn::backend::Autodiff;
use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeTensor, KernelSource, into_contiguous};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
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
    forward_by(
        PairAffinity,
        launch::MAX_WORKGROUPS,
        features,
        radius,
        scale,
    )
}

/// [`launch_forward`] by a kernel for grids of at most `most` workgroups along x.
fn forward_by<K: KernelSource>(
    kernel: K,
    most: u32,
    features: CubeTensor,
    radius: usize,
    scale: f32,
) -> CubeTensor {
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
    let grid = launch::grid(n, most);
    launch::run_groups(&features, kernel, launch::WORKGROUP, grid, buffers);
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

#[cfg(test)]
mod tests {
    use burn::backend::DispatchDevice;
    use burn::backend::ops::FloatTensorOps;
    use burn::backend::wgpu::CubeBackend;
    use burn::tensor::TensorData;

    use super::launch::Folded;
    use super::*;
    use crate::device::{Choice, choose};

    #[test]
    fn a_launch_past_the_limit_is_folded_and_gives_the_same_bits() {
        let device = choose(Choice::Vulkan).unwrap().device;
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            panic!("{device:?} has no kernels");
        };
        let values: Vec<f32> = (0..3 * 20 * 21).map(|i| (i as f32).sin()).collect();
        let features = || {
            let data = TensorData::new(values.clone(), [1, 3, 20, 21]);
            CubeBackend::float_from_data(data, device)
        };
        let bits = |tensor: CubeTensor| {
            let data = pollster::block_on(CubeBackend::float_into_data(tensor)).unwrap();
            data.try_to_vec::<f32>().unwrap()
        };
        let whole = bits(launch_forward(features(), 5, 0.5));
        // 34 · 420 pairs are 56 workgroups: in whole rows, and with one that is cut short.
        for most in [7, 9, 55] {
            let folded = forward_by(Folded(PairAffinity, most), most, features(), 5, 0.5);
            assert_eq!(bits(folded), whole, "at most {most} workgroups");
        }
    }
}
