//! Pixel-wise cross entropy with ignored pixels.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};

/// Label of a pixel that no loss and no metric looks at.
pub const IGNORE: i32 = 255;

/// Mean over the labelled pixels of -log softmax(scores) at the label.
///
/// `scores` `[B, C, h, w]`; `labels` `[B, h, w]` in host memory, each in 0..C or anything else to be ignored. The
/// result is `[1]`, and 0 where no pixel is labelled.
pub fn cross_entropy(scores: Tensor<4>, labels: &[i32]) -> Tensor<1> {
    let labelled = count(labels, 0..scores.dims()[1] as i32);
    let share = 1.0 / labelled.max(1) as f32;
    pixels(scores, labels, |_| share).sum()
}

/// The two parts of RRM's cross entropy and their sum, each `[1]`.
pub struct BalancedCrossEntropy {
    /// background + foreground.
    pub total: Tensor<1>,
    /// Mean over the pixels of label 0, 0 without such pixels.
    pub background: Tensor<1>,
    /// Mean over the pixels of all other labels, 0 without such pixels.
    pub foreground: Tensor<1>,
}

/// As [`cross_entropy`] (RRM Eq. 9), with background and foreground averaged apart.
pub fn balanced_cross_entropy(scores: Tensor<4>, labels: &[i32]) -> BalancedCrossEntropy {
    let c = scores.dims()[1];
    let share = |n: usize| 1.0 / n.max(1) as f32;
    let shares = [share(count(labels, 0..1)), share(count(labels, 1..c as i32))];
    let losses = pixels(scores, labels, |l| shares[usize::from(l > 0)]);
    let background = losses.clone().narrow(1, 0, 1).sum();
    let foreground = losses.narrow(1, 1, c - 1).sum();
    BalancedCrossEntropy {
        total: background.clone() + foreground.clone(),
        background,
        foreground,
    }
}

fn count(labels: &[i32], of: std::ops::Range<i32>) -> usize {
    labels.iter().filter(|l| of.contains(l)).count()
}

/// -`weight(label)` log softmax(scores) `[B, C, h, w]` at each pixel's label, 0 elsewhere.
fn pixels(scores: Tensor<4>, labels: &[i32], weight: impl Fn(i32) -> f32) -> Tensor<4> {
    let [b, c, h, w] = scores.dims();
    let hw = h * w;
    // One weighted row per pixel: the loss is then one product and one sum on every backend, gradient included.
    let mut weights = vec![0.0f32; b * c * hw];
    for (i, &label) in labels.iter().enumerate() {
        if (0..c as i32).contains(&label) {
            weights[((i / hw) * c + label as usize) * hw + i % hw] = -weight(label);
        }
    }
    let weights = Tensor::<4>::from_data(TensorData::new(weights, [b, c, h, w]), &scores.device());
    log_softmax(scores, 1) * weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn balanced_means_are_apart_and_zero_without_pixels() {
        let device = Device::flex();
        let scores = [[[[0.0f32, 1.0, 0.0, 9.0]], [[0.0, 0.0, 2.0, 9.0]]]];
        let scores = Tensor::<4>::from_data(scores, &device);
        let loss = |labels: &[i32]| {
            let loss = balanced_cross_entropy(scores.clone(), labels);
            [loss.total, loss.background, loss.foreground].map(|t| t.into_scalar::<f32>())
        };
        let wrong_by = |margin: f32| (1.0 + margin.exp()).ln();
        let [total, background, foreground] = loss(&[0, 0, 1, 255]);
        let expected = (wrong_by(0.0) + wrong_by(-1.0)) / 2.0;
        assert!((background - expected).abs() < 1e-6, "{background}");
        assert!((foreground - wrong_by(-2.0)).abs() < 1e-6, "{foreground}");
        assert!((total - background - foreground).abs() < 1e-6);
        assert_eq!(loss(&[255, -1, 2, 255]), [0.0; 3]);
        assert_eq!(loss(&[255, 255, 1, 255])[1], 0.0);
    }
}
