//! Affinity of every pair of pixels within a radius, AffinityNet Eq. 3–4, without the `[B, D, K, H W]` tensor of
//! differences that the plain formulation builds.

mod autodiff;
mod cpu;
mod device;
#[cfg(test)]
pub(super) mod tests;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::Tensor;

pub(super) use device::sources;

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
    Tensor::from_dispatch(Dispatch::pair_affinity(features.into_dispatch(), radius, scale))
}

/// [`pair_affinity()`] on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait PairAffinity: burn::backend::Backend {
    /// Features `[B, D, H, W]` → affinities `[B, K, H, W]`, from the L1 distances times `scale`.
    fn pair_affinity(features: FloatTensor<Self>, radius: usize, scale: f32) -> FloatTensor<Self>;
}

/// The gradients of [`PairAffinity`] on a backend's own tensors. `Autodiff` itself has none: no method takes second
/// derivatives.
pub trait PairAffinityBackward: PairAffinity {
    /// Features `[B, D, H, W]` and, for every pair, the derivative of the loss by its L1 distance times the scale
    /// `[B, K, H, W]` → the gradient of the features `[B, D, H, W]`.
    fn pair_affinity_backward(
        features: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        radius: usize,
    ) -> FloatTensor<Self>;
}
