//! The random walk on the CPU: the twin of `random_walk.wgsl`.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use rayon::prelude::*;

use super::RandomWalk;
use crate::kernels::neighbourhood::{offsets, overlap};

impl RandomWalk for Flex {
    fn random_walk(
        weights: FloatTensor<Self>,
        scores: FloatTensor<Self>,
        normaliser: FloatTensor<Self>,
        radius: usize,
        steps: usize,
    ) -> FloatTensor<Self> {
        let (weights, normaliser) = (weights.to_contiguous(), normaliser.to_contiguous());
        let mut scores = scores.to_contiguous();
        let shape = scores.layout().shape().dims();
        walk(
            weights.storage(),
            scores.storage_mut(),
            normaliser.storage(),
            shape,
            radius,
            steps,
        );
        scores
    }
}

/// `steps` times scores ← normaliser · (W scores), in place: scores of `shape` `[B, C, H, W]`, pair weights
/// `[B, K, H, W]`, normaliser `[B, 1, H, W]`.
fn walk(weights: &[f32], scores: &mut [f32], normaliser: &[f32], shape: [usize; 4], radius: usize, steps: usize) {
    let [_, c, h, w] = shape;
    let offsets = offsets(radius);
    let hw = h * w;
    scores
        .par_chunks_mut(hw.max(1))
        .enumerate()
        .for_each(|(plane, scores)| {
            let batch = plane / c;
            let weights = &weights[batch * offsets.len() * hw..][..offsets.len() * hw];
            let normaliser = &normaliser[batch * hw..][..hw];
            let mut sum = vec![0.0f32; hw];
            for _ in 0..steps {
                sum.copy_from_slice(scores);
                for (offset, weights) in offsets.iter().zip(weights.chunks_exact(hw)) {
                    for (i, j, n) in overlap(h, w, *offset) {
                        let weights = &weights[i..i + n];
                        for ((sum, weight), score) in sum[i..i + n].iter_mut().zip(weights).zip(&scores[j..j + n]) {
                            *sum += weight * score;
                        }
                        for ((sum, weight), score) in sum[j..j + n].iter_mut().zip(weights).zip(&scores[i..i + n]) {
                            *sum += weight * score;
                        }
                    }
                }
                for ((score, sum), normaliser) in scores.iter_mut().zip(&sum).zip(normaliser) {
                    *score = sum * normaliser;
                }
            }
        });
}
