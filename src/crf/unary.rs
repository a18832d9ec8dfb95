//! Unary energies `[C, H, W]` of a dense CRF: what every pixel pays for every label, the negative log of a probability.

use image::GrayImage;
use ndarray::{Array3, Axis};

use super::error::{Error, Result};
use crate::data::MaskValue;

/// Probabilities below this count as this much, as in pydensecrf, so that no label is out of reach.
pub const CLIP: f32 = 1e-5;

/// The value in a label map that stands for a pixel of unknown label.
pub const UNSURE: u8 = MaskValue::IGNORED.get();

/// -log p of probabilities `[C, H, W]`, which are clipped to [[`CLIP`], 1].
pub fn unary_from_probabilities(mut probabilities: Array3<f32>) -> Array3<f32> {
    probabilities.mapv_inplace(|p| -p.clamp(CLIP, 1.0).ln());
    probabilities
}

/// -log softmax over the channels of logits `[C, H, W]`, of any finite size, without clipping.
pub fn unary_from_logits(mut logits: Array3<f32>) -> Array3<f32> {
    let width = logits.len_of(Axis(2));
    let (mut highest, mut sums) = (vec![0.0_f32; width], vec![0.0_f32; width]);
    for mut row in logits.axis_iter_mut(Axis(1)) {
        highest.fill(f32::NEG_INFINITY);
        sums.fill(0.0);
        for channel in row.outer_iter() {
            for (highest, v) in highest.iter_mut().zip(channel) {
                *highest = highest.max(*v);
            }
        }
        for channel in row.outer_iter() {
            for ((sum, highest), v) in sums.iter_mut().zip(&highest).zip(channel) {
                *sum += (v - highest).exp();
            }
        }
        for mut channel in row.outer_iter_mut() {
            for ((v, highest), sum) in channel.iter_mut().zip(&highest).zip(&sums) {
                // The difference first: the log of the sum would be lost in a large logit.
                *v = ((highest - *v) + sum.ln()).min(f32::MAX);
            }
        }
    }
    logits
}

/// Energies `[classes, H, W]` of a label map that is right with probability `confidence`: a pixel pays
/// -log(confidence) for its own label and -log((1 - confidence) / (classes - 1)) for any other; an [`UNSURE`] one
/// pays -log(1 / classes) for all.
///
/// pydensecrf's `unary_from_labels(labels, classes, confidence, zero_unsure=False)`; with `zero_unsure=True` that
/// function takes 0 for [`UNSURE`] and counts its labels from 1.
///
/// # Errors
/// No classes, a label outside of them, or a confidence outside of (0, 1).
pub fn unary_from_labels(labels: &GrayImage, classes: usize, confidence: f32) -> Result<Array3<f32>> {
    if !(confidence > 0.0 && confidence < 1.0) {
        return Err(Error::Confidence(confidence));
    }
    if classes == 0 {
        return Err(Error::NoLabels);
    }
    let (width, height) = labels.dimensions();
    let others = -((1.0 - confidence) / (classes.max(2) - 1) as f32).ln();
    let unsure = (classes as f32).ln();
    let own = -confidence.ln();
    let mut unary = Array3::from_elem((classes, height as usize, width as usize), others);
    for (x, y, pixel) in labels.enumerate_pixels() {
        let label = usize::from(pixel.0[0]);
        let (x, y) = (x as usize, y as usize);
        if label < classes {
            unary[[label, y, x]] = own;
        } else if label == usize::from(UNSURE) {
            unary.slice_mut(ndarray::s![.., y, x]).fill(unsure);
        } else {
            return Err(Error::Label {
                label,
                at: [x as u32, y as u32],
                labels: classes,
            });
        }
    }
    Ok(unary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Luma;
    use proptest::prelude::*;

    fn close(a: f32, b: f64) -> bool {
        (f64::from(a) - b).abs() <= 1e-5 * b.abs().max(1.0)
    }

    #[test]
    fn probabilities_are_clipped() {
        let p = Array3::from_shape_vec((3, 1, 1), vec![0.0, 0.25, 1.0005]).unwrap();
        let unary = unary_from_probabilities(p);
        for (energy, expected) in unary.iter().zip([11.512_925, 1.386_294_4, 0.0]) {
            assert!(close(*energy, expected), "{energy} is not {expected}");
        }
    }

    #[test]
    fn logits_of_any_size() {
        let values = vec![1e4, -3e38, 0.0, 3e38, 1e4 - 2.0, 3e38, 0.0, 3e38];
        let unary = unary_from_logits(Array3::from_shape_vec((2, 2, 2), values).unwrap());
        assert!(close(unary[[0, 0, 0]], 0.126_928) && close(unary[[1, 0, 0]], 2.126_928));
        let half = std::f64::consts::LN_2;
        assert!(close(unary[[0, 1, 0]], half) && close(unary[[1, 1, 1]], half));
        assert_eq!(unary[[1, 0, 1]], 0.0);
        assert_eq!(unary[[0, 0, 1]], f32::MAX);
    }

    proptest! {
        #[test]
        fn logits_are_the_log_of_their_softmax(
            values in prop::collection::vec(-30.0_f32..30.0, 24), classes in prop::sample::select(vec![1_usize, 2, 3, 4]),
        ) {
            let width = 24 / classes / 2;
            let logits = Array3::from_shape_vec((classes, 2, width), values).unwrap();
            let unary = unary_from_logits(logits.clone());
            for ((c, y, x), energy) in unary.indexed_iter() {
                let at = |c| f64::from(logits[[c, y, x]]);
                let expected = (0..classes).map(|k| (at(k) - at(c)).exp()).sum::<f64>().ln();
                prop_assert!(close(*energy, expected), "{energy} is not {expected}");
            }
        }
    }

    /// pydensecrf's documented example: three labels, gt_prob 0.7.
    #[test]
    fn labels_with_unsure_pixels() {
        let labels = GrayImage::from_raw(3, 1, vec![0, 2, 255]).unwrap();
        let unary = unary_from_labels(&labels, 3, 0.7).unwrap();
        let (own, other, unsure) = (0.356_675, 1.897_12, 1.098_612);
        for ((c, _, x), energy) in unary.indexed_iter() {
            let expected = match (c, x) {
                (_, 2) => unsure,
                (0, 0) | (2, 1) => own,
                _ => other,
            };
            assert!(close(*energy, expected), "{c} {x}: {energy}");
        }
    }

    #[test]
    fn one_label_255_labels_and_none() {
        let map = |value| GrayImage::from_pixel(1, 1, Luma([value]));
        let one = unary_from_labels(&map(0), 1, 0.7).unwrap();
        assert!(one.iter().all(|e| e.is_finite()));
        assert_eq!(unary_from_labels(&map(255), 1, 0.7).unwrap()[[0, 0, 0]], 0.0);
        assert_eq!(unary_from_labels(&map(254), 255, 0.7).unwrap().len(), 255);
        let text = |result: Result<Array3<f32>>| result.unwrap_err().to_string();
        assert!(text(unary_from_labels(&map(3), 3, 0.7)).contains("label 3 at (0, 0)"));
        assert!(text(unary_from_labels(&map(255), 0, 0.7)).contains("no labels"));
        for confidence in [0.0, 1.0, -0.5, f32::NAN] {
            assert!(text(unary_from_labels(&map(0), 3, confidence)).contains("confidence"));
        }
    }
}
