//! AALR's affinity loss between predictions (Zhang et al. 2021, Sec. 3.1): neighbours with one pseudo-label are pulled
//! together, neighbours with different ones are pushed apart.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// How much a pair counts, from the confidence V of its two pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairWeight {
    /// The larger one: the paper's choice (Eq. 7).
    Max,
    /// The smaller one (Table 3).
    Min,
    /// Their mean, "plus" in Table 3.
    Mean,
    /// 1, all pairs alike: the standard affinity loss (Eq. 1–6).
    Standard,
}

/// Hyper-parameters of [`adaptive_affinity`].
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptiveAffinity {
    /// Dilations of the 3x3 kernels, in pixels of the scores; the losses of all of them add up (Eq. 12).
    pub dilations: Vec<usize>,
    /// Divergence that pairs of different labels are pushed to (Eq. 10); 3 in the paper.
    pub margin: f32,
    /// Weight of a pair.
    pub weight: PairWeight,
    /// Added inside of the logarithms.
    pub epsilon: f32,
}

impl Default for AdaptiveAffinity {
    /// The paper's best row (Tables 2 and 3).
    fn default() -> Self {
        AdaptiveAffinity {
            dilations: vec![4, 8, 12, 24],
            margin: 3.0,
            weight: PairWeight::Max,
            epsilon: 1e-8,
        }
    }
}

/// The loss and its three parts over all dilations, each `[1]`; a part without pairs is 0.
pub struct AdaptiveAffinityLoss {
    /// foreground + background + 2 negative (Eq. 11, 12).
    pub total: Tensor<1>,
    /// Mean over pairs within one class (Eq. 8).
    pub foreground: Tensor<1>,
    /// Mean over pairs within the background (Eq. 9).
    pub background: Tensor<1>,
    /// Mean over pairs of different labels (Eq. 10).
    pub negative: Tensor<1>,
}

/// The loss of scores `[B, C, h, w]` before softmax, whose pairs are the pixels and their eight neighbours at each
/// dilation, compared by the Kullback-Leibler divergence (Eq. 4) in both directions.
///
/// `labels` `[B, h, w]`: 0 background, 255 (or anything negative) for pixels in no pair. `confidence` `[B, h, w]` in
/// [0, 1]: V of Eq. 7, a constant. Means are over the pairs of the whole batch, as in [`super::affinity`].
pub fn adaptive_affinity(
    scores: Tensor<4>,
    labels: &[i32],
    confidence: &[f32],
    settings: &AdaptiveAffinity,
) -> AdaptiveAffinityLoss {
    let [b, _, h, w] = scores.dims();
    let device = scores.device();
    let offsets = Offset::all(&settings.dilations, [h, w]);
    if offsets.is_empty() {
        let zero = || Tensor::zeros([1], &device);
        return AdaptiveAffinityLoss {
            total: zero(),
            foreground: zero(),
            background: zero(),
            negative: zero(),
        };
    }
    let probability = softmax(scores, 1);
    let logarithm = (probability.clone() + settings.epsilon).log();
    // Every unordered pair of an offset is cut out once; its two directions share the difference of logarithms.
    let (there, back): (Vec<_>, Vec<_>) = offsets
        .iter()
        .map(|offset| {
            let difference = offset.near(&logarithm) - offset.far(&logarithm);
            let divergence = |p: Tensor<4>| {
                let n = offset.height * offset.width;
                (p * difference.clone()).sum_dim(1).reshape([b, n])
            };
            let there = divergence(offset.near(&probability));
            let back = divergence(offset.far(&probability).neg());
            (there, back)
        })
        .unzip();
    let (there, back) = (Tensor::cat(there, 1), Tensor::cat(back, 1));
    let pairs = Pairs::new(labels, confidence, [b, h, w], &offsets, settings);
    let pull = there.clone() + back.clone();
    let bound = pairs.upload(&pairs.bound, &device);
    let push = relu(bound.clone() - there) + relu(bound - back);
    let foreground = (pull.clone() * pairs.upload(&pairs.foreground, &device)).sum();
    let background = (pull * pairs.upload(&pairs.background, &device)).sum();
    let negative = (push * pairs.upload(&pairs.negative, &device)).sum();
    AdaptiveAffinityLoss {
        total: foreground.clone() + background.clone() + negative.clone() * 2.0,
        foreground,
        background,
        negative,
    }
}

/// A neighbour to the right or below, with the part of the image whose pixels have one: its near corner, its size, and
/// by how much the far pixels are shifted.
struct Offset {
    dilation: usize,
    near: [usize; 2],
    far: [usize; 2],
    height: usize,
    width: usize,
}

impl Offset {
    /// Half of the eight neighbours at each dilation; the other half are these pairs seen from the other pixel.
    /// Without those that lead out of the image everywhere.
    fn all(dilations: &[usize], [h, w]: [usize; 2]) -> Vec<Offset> {
        let corners = |d: usize| [([0, 0], [0, d]), ([0, 0], [d, 0]), ([0, 0], [d, d]), ([0, d], [d, 0])];
        dilations
            .iter()
            .filter(|d| **d > 0)
            .flat_map(|&d| {
                corners(d).map(|(near, far)| Offset {
                    dilation: d,
                    near,
                    far,
                    height: h.saturating_sub(far[0]),
                    width: w.saturating_sub(near[1].max(far[1])),
                })
            })
            .filter(|o| o.height > 0 && o.width > 0)
            .collect()
    }

    fn cut(&self, x: &Tensor<4>, [y, left]: [usize; 2]) -> Tensor<4> {
        x.clone().narrow(2, y, self.height).narrow(3, left, self.width)
    }

    fn near(&self, x: &Tensor<4>) -> Tensor<4> {
        self.cut(x, self.near)
    }

    fn far(&self, x: &Tensor<4>) -> Tensor<4> {
        self.cut(x, self.far)
    }
}

/// What each unordered pair contributes, `[B, M]` in the order of the offsets.
struct Pairs {
    shape: [usize; 2],
    /// Weight over number of pairs within classes; 0 for other pairs, as for the next two.
    foreground: Vec<f32>,
    background: Vec<f32>,
    /// 1 over number of pairs of different labels.
    negative: Vec<f32>,
    /// Weight times margin.
    bound: Vec<f32>,
}

impl Pairs {
    fn new(
        labels: &[i32],
        confidence: &[f32],
        [b, h, w]: [usize; 3],
        offsets: &[Offset],
        settings: &AdaptiveAffinity,
    ) -> Pairs {
        let m = offsets.iter().map(|o| o.height * o.width).sum::<usize>();
        let zeros = || vec![0.0; b * m];
        let mut pairs = Pairs {
            shape: [b, m],
            foreground: zeros(),
            background: zeros(),
            negative: zeros(),
            bound: zeros(),
        };
        let mut first = 0;
        for same_dilation in offsets.chunk_by(|a, b| a.dilation == b.dilation) {
            let mut members: [Vec<(usize, f32)>; 3] = Default::default();
            for offset in same_dilation {
                for batch in 0..b {
                    for y in 0..offset.height {
                        for x in 0..offset.width {
                            let pixel = |[dy, dx]: [usize; 2]| (batch * h + y + dy) * w + x + dx;
                            let (i, j) = (pixel(offset.near), pixel(offset.far));
                            let labelled = |i: usize| (0..255).contains(&labels[i]);
                            if !labelled(i) || !labelled(j) {
                                continue;
                            }
                            let set = match (labels[i] == labels[j], labels[i]) {
                                (true, 0) => 1,
                                (true, _) => 0,
                                (false, _) => 2,
                            };
                            let at = batch * m + first + y * offset.width + x;
                            let weight = settings.weight.of(confidence[i], confidence[j]);
                            members[set].push((at, weight));
                        }
                    }
                }
                first += offset.height * offset.width;
            }
            // Both directions of a pair count.
            let share = |set: &[_]| 0.5 / (set.len() as f32).max(1.0);
            let [foreground, background, negative] = &members;
            for (set, out) in [(foreground, &mut pairs.foreground), (background, &mut pairs.background)] {
                for (at, weight) in set {
                    out[*at] = weight * share(set);
                }
            }
            for (at, weight) in negative {
                pairs.negative[*at] = share(negative);
                pairs.bound[*at] = weight * settings.margin;
            }
        }
        pairs
    }

    fn upload(&self, values: &[f32], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), self.shape), device)
    }
}

impl PairWeight {
    fn of(self, a: f32, b: f32) -> f32 {
        match self {
            PairWeight::Max => a.max(b),
            PairWeight::Min => a.min(b),
            PairWeight::Mean => (a + b) / 2.0,
            PairWeight::Standard => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(labels: &[i32], weight: PairWeight, dilations: &[usize]) -> [f32; 4] {
        let device = Device::flex();
        let scores = Tensor::<4>::from_data([[[[2.0, 0.0, -1.0]], [[0.0, 1.0, 0.5]]]], &device);
        let settings = AdaptiveAffinity {
            dilations: dilations.to_vec(),
            weight,
            ..AdaptiveAffinity::default()
        };
        let loss = adaptive_affinity(scores, labels, &[0.2, 0.8, 0.4], &settings);
        [loss.total, loss.foreground, loss.background, loss.negative].map(|t| t.into_scalar::<f32>())
    }

    /// The mean of both directions' divergences.
    fn divergence(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
        let p = |[x, y]: [f32; 2]| [1.0 / (1.0 + (y - x).exp()), 1.0 / (1.0 + (x - y).exp())];
        let kl = |p: [f32; 2], q: [f32; 2]| p[0] * (p[0] / q[0]).ln() + p[1] * (p[1] / q[1]).ln();
        [kl(p(a), p(b)), kl(p(b), p(a))]
    }

    #[test]
    fn pairs_weigh_by_the_confidence_of_their_pixels() {
        let [ab, ba] = divergence([2.0, 0.0], [0.0, 1.0]);
        let [bc, cb] = divergence([0.0, 1.0], [-1.0, 0.5]);
        for (weight, first, second) in [
            (PairWeight::Max, 0.8, 0.8),
            (PairWeight::Min, 0.2, 0.4),
            (PairWeight::Mean, 0.5, 0.6),
            (PairWeight::Standard, 1.0, 1.0),
        ] {
            let [total, foreground, background, negative] = loss(&[1, 1, 0], weight, &[1]);
            let pushed = [bc, cb].map(|d| (second * 3.0 - d).max(0.0));
            assert!((foreground - first * (ab + ba) / 2.0).abs() < 1e-5, "{weight:?}");
            assert_eq!(background, 0.0);
            assert!((negative - (pushed[0] + pushed[1]) / 2.0).abs() < 1e-5, "{weight:?}");
            assert!((total - foreground - 2.0 * negative).abs() < 1e-5);
        }
    }

    #[test]
    fn without_pairs_the_loss_is_zero() {
        assert_eq!(loss(&[1, 255, 0], PairWeight::Max, &[1]), [0.0; 4]);
        assert_eq!(loss(&[1, 1, 0], PairWeight::Max, &[3, 24]), [0.0; 4]);
        assert_eq!(loss(&[1, 1, 0], PairWeight::Max, &[]), [0.0; 4]);
    }
}
