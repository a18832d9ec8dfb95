//! Brute force: AffinityNet's operators as their equations have them, pixel pair by pixel pair, in double precision.

use crate::kernels::{Walk, offsets};

/// All ordered pairs (k, i, j) of pixels of a `[h, w]` image within the radius, j the later one, at `offsets(radius)[k]`
/// from i.
fn pairs([h, w]: [usize; 2], radius: usize) -> Vec<(usize, usize, usize)> {
    let at = |y: usize, x: usize| y * w + x;
    let mut pairs = Vec::new();
    for (k, (dy, dx)) in offsets(radius).into_iter().enumerate() {
        for i in 0..h * w {
            let (y, x) = ((i / w) as i32 + dy, (i % w) as i32 + dx);
            if (0..h as i32).contains(&y) && (0..w as i32).contains(&x) {
                pairs.push((k, i, at(y as usize, x as usize)));
            }
        }
    }
    pairs
}

/// Affinities `[B, K, H, W]` of features of `shape` `[B, D, H, W]` (Eq. 3) and, for `upstream` `[B, K, H, W]`, the gradient
/// of the features.
pub fn affinity(features: &[f32], [b, d, h, w]: [usize; 4], walk: Walk, upstream: &[f32]) -> [Vec<f32>; 2] {
    let (hw, k) = (h * w, offsets(walk.radius).len());
    let scale = f64::from(walk.distance.scale(d));
    let mut result = vec![0.0; b * k * hw];
    let mut gradient = vec![0.0f64; b * d * hw];
    for batch in 0..b {
        for &(pair, i, j) in &pairs([h, w], walk.radius) {
            let differences: Vec<f64> = (batch * d..(batch + 1) * d)
                .map(|plane| f64::from(features[plane * hw + i] - features[plane * hw + j]))
                .collect();
            let sum: f64 = differences.iter().map(|difference| difference.abs()).sum();
            let affinity = (-scale * sum).exp();
            let at = (batch * k + pair) * hw + i;
            result[at] = affinity as f32;
            for (channel, difference) in differences.into_iter().enumerate() {
                if difference != 0.0 {
                    let slope = scale * affinity * f64::from(upstream[at]) * difference.signum();
                    let plane = (batch * d + channel) * hw;
                    gradient[plane + i] -= slope;
                    gradient[plane + j] += slope;
                }
            }
        }
    }
    [result, gradient.into_iter().map(|value| value as f32).collect()]
}

/// Scores `[B, C, H, W]` after the walk along the affinities of `features` of `shape` `[B, D, H, W]`, by its dense matrix
/// (Eq. 11–12), and, for `upstream` of the scores' shape, the gradient of the scores.
pub fn walk(features: &[f32], [b, d, h, w]: [usize; 4], scores: &[f32], walk: Walk, upstream: &[f32]) -> [Vec<f32>; 2] {
    let (n, k) = (h * w, offsets(walk.radius).len());
    let nothing = vec![0.0; b * k * n];
    let [affinities, _] = affinity(features, [b, d, h, w], walk, &nothing);
    let [mut result, mut gradient] = [Vec::new(), Vec::new()];
    let (scores, upstream) = (scores.chunks(scores.len() / b), upstream.chunks(scores.len() / b));
    for (batch, (scores, upstream)) in scores.zip(upstream).enumerate() {
        let mut matrix = vec![0.0f64; n * n];
        (0..n).for_each(|i| matrix[i * n + i] = 1.0);
        for &(pair, i, j) in &pairs([h, w], walk.radius) {
            let weight = f64::from(affinities[(batch * k + pair) * n + i]);
            let weight = weight.powf(f64::from(walk.beta));
            (matrix[i * n + j], matrix[j * n + i]) = (weight, weight);
        }
        for row in matrix.chunks_mut(n) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= sum);
        }
        let forward = |i: usize, j: usize| matrix[i * n + j];
        let transposed = |i: usize, j: usize| matrix[j * n + i];
        result.extend(scores.chunks(n).flat_map(|x| power(&forward, x, walk.steps)));
        gradient.extend(upstream.chunks(n).flat_map(|x| power(&transposed, x, walk.steps)));
    }
    [result, gradient]
}

/// The matrix applied `steps` times.
fn power(matrix: &dyn Fn(usize, usize) -> f64, x: &[f32], steps: usize) -> Vec<f32> {
    let mut x: Vec<f64> = x.iter().map(|value| f64::from(*value)).collect();
    for _ in 0..steps {
        let row = |i: usize| -> f64 { x.iter().enumerate().map(|(j, v)| matrix(i, j) * v).sum() };
        x = (0..x.len()).map(row).collect();
    }
    x.into_iter().map(|value| value as f32).collect()
}

/// Posterior `[C, N]` of `unary` `[C, N]` by Krähenbühl and Koltun's Algorithm 1, each kernel a dense filter matrix
/// `[N, N]`, not normalised, with its symmetric costs `[C, C]`.
pub fn mean_field(unary: &[f32], channels: usize, kernels: &[(Vec<f32>, Vec<f32>)], iterations: usize) -> Vec<f32> {
    let n = unary.len() / channels;
    let mut logits: Vec<f64> = unary.iter().map(|u| -f64::from(*u)).collect();
    let mut posterior = softmax(&logits, channels);
    for _ in 0..iterations {
        logits = unary.iter().map(|u| -f64::from(*u)).collect();
        for (filter, costs) in kernels {
            let at = |i: usize, j: usize| f64::from(filter[i * n + j]);
            let norm: Vec<f64> = (0..n)
                .map(|i| (0..n).map(|j| at(i, j)).sum::<f64>().sqrt().recip())
                .collect();
            for i in 0..n {
                for from in 0..channels {
                    let sent = |j: usize| at(i, j) * norm[j] * posterior[from * n + j];
                    let message = norm[i] * (0..n).map(sent).sum::<f64>();
                    for to in 0..channels {
                        logits[to * n + i] -= f64::from(costs[to * channels + from]) * message;
                    }
                }
            }
        }
        posterior = softmax(&logits, channels);
    }
    posterior.into_iter().map(|value| value as f32).collect()
}

fn softmax(logits: &[f64], channels: usize) -> Vec<f64> {
    let n = logits.len() / channels;
    let of = |pixel: usize| (0..channels).map(move |c| logits[c * n + pixel]);
    (0..channels * n)
        .map(|i| {
            let top = of(i % n).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = of(i % n).map(|l| (l - top).exp()).sum();
            (logits[i] - top).exp() / sum
        })
        .collect()
}
