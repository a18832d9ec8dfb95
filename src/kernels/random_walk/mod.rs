//! The random walk that spreads scores along affinities, AffinityNet Eq. 11–12, as a stencil that is applied t
//! times: no H W x H W matrix.

mod autodiff;
mod cpu;
mod device;
#[cfg(test)]
mod tests;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, backend_extension};
use burn::tensor::{Device, Tensor};

use super::memory::Memory;
use super::neighbourhood::offsets;
use super::pair_affinity::{Distance, pair_affinity};

pub(super) use device::sources;

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
/// Where the radius is below 2: there are no neighbours then; and where features and scores are of other images.
pub fn random_walk(features: Tensor<4>, scores: Tensor<4>, walk: Walk) -> Tensor<4> {
    let [of_features, of_scores] = [&features, &scores].map(|x| {
        let [b, _, h, w] = x.dims();
        [b, h, w]
    });
    assert_eq!(of_features, of_scores, "images of features and scores");
    let room = Dispatch::largest_buffer(scores.clone().into_dispatch());
    walk_within(features, scores, walk, room)
}

/// [`random_walk`] with buffers of at most `room` bytes.
fn walk_within(features: Tensor<4>, scores: Tensor<4>, walk: Walk, room: usize) -> Tensor<4> {
    let [b, _, h, w] = features.dims();
    let image = size_of::<f32>() * offsets(walk.radius).len() * h * w;
    let images = (room / image.max(1)).max(1);
    if b > images {
        let parts = (0..b).step_by(images).map(|first| {
            let count = images.min(b - first);
            let [features, scores] = [&features, &scores].map(|x| x.clone().narrow(0, first, count));
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

fn stencil(weights: Tensor<4>, scores: Tensor<4>, normaliser: Tensor<4>, radius: usize, steps: usize) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::random_walk(
        weights.into_dispatch(),
        scores.into_dispatch(),
        normaliser.into_dispatch(),
        radius,
        steps,
    ))
}

/// The steps of [`random_walk()`] on a backend's own tensors.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait RandomWalk: burn::backend::Backend {
    /// `steps` times scores ← normaliser · (W scores): pair weights `[B, K, H, W]`, scores `[B, C, H, W]`,
    /// normaliser `[B, 1, H, W]` (not zero); the weight of a pixel with itself is 1. Only the scores get a gradient.
    fn random_walk(
        weights: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        normaliser: FloatTensor<Self>,
        radius: usize,
        steps: usize,
    ) -> FloatTensor<Self>;
}
