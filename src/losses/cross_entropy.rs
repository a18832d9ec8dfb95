//! Pixel-wise cross entropy with ignored pixels.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};

/// Label of a pixel that no loss and no metric looks at.
pub const IGNORE: i32 = 255;

/// Mean over the labelled pixels of -log softmax(scores)[label].
///
/// `scores` `[B, C, h, w]`; `labels` `[B, h, w]` in host memory, each in 0..C or anything else to be ignored. The
/// result is `[1]`, and 0 where no pixel is labelled.
pub fn cross_entropy(scores: Tensor<4>, labels: &[i32]) -> Tensor<1> {
    let [b, c, h, w] = scores.dims();
    let hw = h * w;
    let labelled = labels
        .iter()
        .filter(|&&l| (0..c as i32).contains(&l))
        .count();
    let share = -1.0 / labelled.max(1) as f32;
    // One weighted row per pixel: the loss is then one product and one sum on every backend, gradient included.
    let mut weights = vec![0.0f32; b * c * hw];
    for (i, &label) in labels.iter().enumerate() {
        if (0..c as i32).contains(&label) {
            weights[((i / hw) * c + label as usize) * hw + i % hw] = share;
        }
    }
    let weights = Tensor::<4>::from_data(TensorData::new(weights, [b, c, h, w]), &scores.device());
    (log_softmax(scores, 1) * weights).sum()
}
