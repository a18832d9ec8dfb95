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
