//! The random walk on a device: the shader `random_walk.wgsl`, once a step.

use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, into_contiguous};

use super::RandomWalk;
use crate::kernels::launch::{self, Source, shader};
use crate::kernels::neighbourhood::{self, offsets};

shader!(Step, "random_walk");

/// All sources that may be launched.
pub fn sources() -> Vec<Source> {
    Step::sources()
}

impl RandomWalk for CubeBackend {
    fn random_walk(
        weights: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        normaliser: FloatTensor<Self>,
        radius: usize,
        steps: usize,
    ) -> FloatTensor<Self> {
        let [weights, scores, normaliser] = [weights, scores, normaliser].map(into_contiguous);
        let [b, c, h, w] = scores.meta.shape().dims();
        let n = b * c * h * w;
        let offsets = offsets(radius);
        let k = offsets.len();
        let parameters = launch::parameters(&scores, n, &[c as u32, h as u32, w as u32, k as u32]);
        let offsets = neighbourhood::upload(&scores, &offsets);
        let mut from = scores;
        let mut spare = None;
        for step in 0..steps {
            let to = spare.take().unwrap_or_else(|| launch::empty_like(&from, [b, c, h, w]));
            let buffers = vec![
                weights.handle.clone(),
                normaliser.handle.clone(),
                from.handle.clone(),
                to.handle.clone(),
                offsets.clone(),
                parameters.clone(),
            ];
            launch::run(&from, Step, n, buffers);
            let old = std::mem::replace(&mut from, to);
            // The caller's own scores must stay as they are; every later buffer is ours to write over.
            spare = (step > 0).then_some(old);
        }
        from
    }
}
