//! Unary potentials `[C, H, W]`, negative log probabilities, from what people have: probabilities, logits or labels.

use image::GrayImage;
use ndarray::{Array3, ArrayView3, Axis, Zip};

/// Probabilities are clipped to this from below before their logarithm, as all five methods do.
pub const CLIP: f32 = 1e-5;

/// -log p for probabilities `[C, H, W]`, p clipped to [[`CLIP`], 1].
pub fn from_probabilities(probabilities: ArrayView3<f32>) -> Array3<f32> {
    probabilities.mapv(|p| -p.clamp(CLIP, 1.0).ln())
}

/// -log softmax over the first axis for logits `[C, H, W]`.
pub fn from_logits(logits: ArrayView3<f32>) -> Array3<f32> {
    let mut unary = logits.to_owned();
    let peak = logits.fold_axis(Axis(0), f32::NEG_INFINITY, |m, v| m.max(*v));
    let sum = Zip::from(&peak)
        .and(logits.lanes(Axis(0)))
        .map_collect(|m, lane| lane.iter().map(|v| (v - m).exp()).sum::<f32>());
    for mut plane in unary.outer_iter_mut() {
        Zip::from(&mut plane)
            .and(&peak)
            .and(&sum)
            .for_each(|v, m, s| *v = m + s.ln() - *v);
    }
    unary
}

/// Hard labels, each the index of a channel with the probability `confidence` in (1 / C, 1), the other channels
/// sharing the rest; channels are equally likely where a label is none of `channels` (such as 255, unsure). pydensecrf's
/// `unary_from_labels`, with unsure pixels.
pub fn from_labels(labels: &GrayImage, channels: usize, confidence: f32) -> Array3<f32> {
    let (w, h) = labels.dimensions();
    let sure = -confidence.ln();
    let other = -((1.0 - confidence) / (channels.max(2) - 1) as f32).ln();
    let unsure = (channels.max(1) as f32).ln();
    Array3::from_shape_fn((channels, h as usize, w as usize), |(c, y, x)| {
        let label = usize::from(labels.get_pixel(x as u32, y as u32).0[0]);
        if label >= channels || channels == 1 {
            unsure
        } else if label == c {
            sure
        } else {
            other
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn logits_of_any_size_become_log_probabilities() {
        let unary = from_logits(array![[[1000.0, 0.0]], [[0.0, 0.0]]].view());
        assert_eq!(unary[[0, 0, 0]], 0.0);
        assert_eq!(unary[[1, 0, 0]], 1000.0);
        assert!((unary[[0, 0, 1]] - 2f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn labels_are_sure_unsure_or_other() {
        let labels = GrayImage::from_raw(2, 1, vec![1, 255]).unwrap_or_default();
        let unary = from_labels(&labels, 3, 0.8);
        let p: Vec<f32> = unary.iter().map(|u| (-u).exp()).collect();
        for (p, expected) in p
            .iter()
            .zip([0.1, 1.0 / 3.0, 0.8, 1.0 / 3.0, 0.1, 1.0 / 3.0])
        {
            assert!((p - expected).abs() < 1e-6, "{p} {expected}");
        }
        assert_eq!(from_labels(&labels, 1, 0.8).sum(), 0.0);
    }
}
