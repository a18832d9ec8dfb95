//! AffinityNet's loss over pairs of pixels (Eq. 5–10).

use burn::tensor::{Device, Tensor, TensorData};

use crate::kernels::{Distance, offsets, pair_affinity};

/// What the released code adds inside of the logarithms.
pub const EPSILON: f32 = 1e-5;

/// The three parts of the loss and their sum, each `[1]`.
pub struct AffinityLoss {
    /// fg + bg + 2 neg (Eq. 10).
    pub total: Tensor<1>,
    /// Mean over pairs within one object class (Eq. 7), 0 without such pairs.
    pub foreground: Tensor<1>,
    /// Mean over pairs within the background (Eq. 8).
    pub background: Tensor<1>,
    /// Mean over pairs of different classes (Eq. 9).
    pub negative: Tensor<1>,
}

impl AffinityLoss {
    /// fg / 4 + bg / 4 + neg / 2 `[1]`, as the released code adds them up: a quarter of Eq. 10.
    pub fn released(&self) -> Tensor<1> {
        self.total.clone() / 4.0
    }
}

/// The loss of affinity features `[B, D, h, w]` against labels `[B, h, w]`, 0 background, 255 (or anything negative)
/// neutral; pairs closer than `radius`, distances as in [`pair_affinity`]; `epsilon` keeps the logarithms finite.
pub fn affinity_loss(
    features: Tensor<4>,
    labels: &[i32],
    radius: usize,
    distance: Distance,
    epsilon: f32,
) -> AffinityLoss {
    let [b, _, h, w] = features.dims();
    let pairs = PairSets::new(labels, [b, h, w], radius);
    let affinity = pair_affinity(features, radius, distance);
    let device = affinity.device();
    // The loss of a pair is -log W or -log(1 - W) (Eq. 7-9).
    let same = (affinity.clone() + epsilon).log().neg();
    let different = (affinity.neg() + (1.0 + epsilon)).log().neg();
    let foreground = (same.clone() * pairs.weights(&pairs.foreground, &device)).sum();
    let background = (same * pairs.weights(&pairs.background, &device)).sum();
    let negative = (different * pairs.weights(&pairs.negative, &device)).sum();
    let total = foreground.clone() + background.clone() + negative.clone() * 2.0;
    AffinityLoss {
        total,
        foreground,
        background,
        negative,
    }
}

/// The sets P⁺fg, P⁺bg and P⁻ (Eq. 5–6) as flat indices into `[B, K, h, w]`.
struct PairSets {
    shape: [usize; 4],
    foreground: Vec<usize>,
    background: Vec<usize>,
    negative: Vec<usize>,
}

impl PairSets {
    fn new(labels: &[i32], [b, h, w]: [usize; 3], radius: usize) -> PairSets {
        let offsets = offsets(radius);
        let mut sets = PairSets {
            shape: [b, offsets.len(), h, w],
            foreground: Vec::new(),
            background: Vec::new(),
            negative: Vec::new(),
        };
        let neutral = |label: i32| !(0..255).contains(&label);
        for (batch, labels) in labels.chunks_exact((h * w).max(1)).enumerate() {
            for (k, &(dy, dx)) in offsets.iter().enumerate() {
                for y in 0..h.saturating_sub(dy as usize) {
                    for x in 0..w {
                        let Some(x2) = x.checked_add_signed(dx as isize).filter(|x| *x < w) else {
                            continue;
                        };
                        let here = labels[y * w + x];
                        let there = labels[(y + dy as usize) * w + x2];
                        if neutral(here) || neutral(there) {
                            continue;
                        }
                        let index = ((batch * offsets.len() + k) * h + y) * w + x;
                        match (here == there, here) {
                            (true, 0) => sets.background.push(index),
                            (true, _) => sets.foreground.push(index),
                            (false, _) => sets.negative.push(index),
                        }
                    }
                }
            }
        }
        sets
    }

    /// A tensor `[B, K, h, w]` that averages over `set` when multiplied and summed.
    fn weights(&self, set: &[usize], device: &Device) -> Tensor<4> {
        let mut weights = vec![0.0f32; self.shape.iter().product()];
        let share = 1.0 / (set.len() as f32).max(1.0);
        for &i in set {
            weights[i] = share;
        }
        Tensor::from_data(TensorData::new(weights, self.shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_released_total_is_a_quarter_of_the_papers() {
        let device = Device::flex();
        let values: Vec<f32> = (0..2 * 16).map(|i| ((i * 13) % 7) as f32 / 3.0).collect();
        let features = Tensor::<4>::from_data(TensorData::new(values, [1, 2, 4, 4]), &device);
        let labels: Vec<i32> = (0..16).map(|i| i32::from(i % 4 > 1)).collect();
        let loss = affinity_loss(features, &labels, 3, Distance::Mean, EPSILON);
        let released = loss.released().into_scalar::<f32>();
        let [fg, bg, neg] = [loss.foreground, loss.background, loss.negative].map(|part| part.into_scalar::<f32>());
        assert!(fg > 0.0 && bg > 0.0 && neg > 0.0);
        assert!((released - (bg / 4.0 + fg / 4.0 + neg / 2.0)).abs() < 1e-6);
    }
}
