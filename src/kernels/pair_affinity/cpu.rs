//! Pair affinity on the CPU: the twin of `pair_affinity.wgsl` and `pair_affinity_backward.wgsl`.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use rayon::prelude::*;

use super::{PairAffinity, PairAffinityBackward};
use crate::kernels::cpu::tensor;
use crate::kernels::neighbourhood::{offsets, overlap};

impl PairAffinity for Flex {
    fn pair_affinity(features: FloatTensor<Self>, radius: usize, scale: f32) -> FloatTensor<Self> {
        let features = features.to_contiguous();
        let [b, d, h, w] = features.layout().shape().dims();
        let out = forward(features.storage(), [b, d, h, w], radius, scale);
        tensor(out, [b, offsets(radius).len(), h, w])
    }
}

impl PairAffinityBackward for Flex {
    fn pair_affinity_backward(
        features: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        radius: usize,
    ) -> FloatTensor<Self> {
        let (features, slope) = (features.to_contiguous(), slope.to_contiguous());
        let shape = features.layout().shape().dims();
        let out = backward(features.storage(), slope.storage(), shape, radius);
        tensor(out, shape)
    }
}

/// Features of `shape` `[B, D, H, W]` → affinities `[B, K, H, W]`, 0 where the partner is outside of the image.
fn forward(features: &[f32], shape: [usize; 4], radius: usize, scale: f32) -> Vec<f32> {
    let [b, d, h, w] = shape;
    let offsets = offsets(radius);
    let hw = h * w;
    let mut out = vec![0.0; b * offsets.len() * hw];
    out.par_chunks_mut(hw.max(1)).enumerate().for_each(|(plane, out)| {
        let batch = &features[(plane / offsets.len()) * d * hw..][..d * hw];
        for (i, j, n) in overlap(h, w, offsets[plane % offsets.len()]) {
            let sums = &mut out[i..i + n];
            for channel in batch.chunks_exact(hw) {
                for ((sum, a), b) in sums.iter_mut().zip(&channel[i..i + n]).zip(&channel[j..j + n]) {
                    *sum += (a - b).abs();
                }
            }
            sums.iter_mut().for_each(|sum| *sum = (-scale * *sum).exp());
        }
    });
    out
}

/// Gradient of the features: sum over a pixel's pairs of slope · sign(f_i - f_j), slope `[B, K, H, W]`.
fn backward(features: &[f32], slope: &[f32], shape: [usize; 4], radius: usize) -> Vec<f32> {
    let [b, d, h, w] = shape;
    let offsets = offsets(radius);
    let hw = h * w;
    let mut out = vec![0.0; b * d * hw];
    out.par_chunks_mut(hw.max(1)).enumerate().for_each(|(plane, out)| {
        let channel = &features[plane * hw..][..hw];
        let slopes = &slope[(plane / d) * offsets.len() * hw..][..offsets.len() * hw];
        let mut signed = vec![0.0f32; w];
        for (offset, slopes) in offsets.iter().zip(slopes.chunks_exact(hw)) {
            for (i, j, n) in overlap(h, w, *offset) {
                let signed = &mut signed[..n];
                let pairs = channel[i..i + n].iter().zip(&channel[j..j + n]);
                for ((signed, (a, b)), slope) in signed.iter_mut().zip(pairs).zip(&slopes[i..i + n]) {
                    let sign = f32::from(u8::from(a > b)) - f32::from(u8::from(a < b));
                    *signed = slope * sign;
                }
                for (out, signed) in out[i..i + n].iter_mut().zip(signed.iter()) {
                    *out += signed;
                }
                for (out, signed) in out[j..j + n].iter_mut().zip(signed.iter()) {
                    *out -= signed;
                }
            }
        }
    });
    out
}
