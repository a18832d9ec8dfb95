//! The background's score, and what the maps are sure of (AffinityNet Eq. 2, Sec. 3.2.1).

use anyhow::Result;
use image::GrayImage;
use ndarray::{Array2, Array3, ArrayView3, Axis};

use super::scores::{Maps, winners};

/// Background score (1 - max over classes)^alpha (Eq. 2) for class maps `[K, H, W]` in [0, 1]; 1 without classes.
pub fn background(maps: ArrayView3<f32>, alpha: f32) -> Array2<f32> {
    maps.fold_axis(Axis(0), 0.0f32, |m, v| m.max(*v))
        .mapv(|m| (1.0 - m).max(0.0).powf(alpha))
}

/// Class maps `[K, H, W]` with the background's score in front, and the mask values of the rows.
pub fn with_background(maps: &Maps, alpha: f32) -> (Array3<f32>, Vec<u8>) {
    let (k, h, w) = maps.maps.dim();
    let mut scores = Array3::zeros((k + 1, h, w));
    scores
        .index_axis_mut(Axis(0), 0)
        .assign(&background(maps.maps.view(), alpha));
    for (mut row, map) in scores.outer_iter_mut().skip(1).zip(maps.maps.outer_iter()) {
        row.assign(&map);
    }
    let values = std::iter::once(0).chain(maps.mask_values()).collect();
    (scores, values)
}

/// What the maps are sure of: a class where it wins against a strong background (low alpha) with a score of at least
/// `least`, background where it wins even when weak (high alpha), 255 elsewhere. `refine` stands between scores
/// `[K + 1, H, W]` and who wins: the dense CRF.
pub fn confident(
    maps: &Maps,
    alpha_low: f32,
    alpha_high: f32,
    least: f32,
    refine: impl Fn(Array3<f32>) -> Result<Array3<f32>>,
) -> Result<GrayImage> {
    let (scores, values) = with_background(maps, alpha_low);
    let mut label = winners(refine(scores)?.view(), &values);
    let (scores, values) = with_background(maps, alpha_high);
    let weak = winners(refine(scores)?.view(), &values);
    let peak = maps.peaks();
    for ((label, weak), peak) in label.iter_mut().zip(weak.iter()).zip(&peak) {
        if *weak != 0 && (*label == 0 || *peak < least) {
            *label = 255;
        }
    }
    Ok(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn confident_is_class_background_or_neither() {
        let maps = Maps {
            classes: vec![3],
            maps: array![[[0.9, 0.4, 0.05]]],
        };
        // alpha 2: 0.01, 0.36, 0.90; alpha 8: 0.00, 0.017, 0.66
        assert_eq!(confident(&maps, 2.0, 8.0, 0.0, Ok).unwrap().into_raw(), vec![3, 3, 0]);
        // alpha 1: 0.1, 0.6, 0.95
        assert_eq!(confident(&maps, 1.0, 8.0, 0.0, Ok).unwrap().into_raw(), vec![3, 255, 0]);
    }

    #[test]
    fn without_classes_all_is_background() {
        let maps = Maps {
            classes: vec![],
            maps: Array3::zeros((0, 2, 2)),
        };
        assert_eq!(confident(&maps, 2.0, 8.0, 0.0, Ok).unwrap().into_raw(), vec![0; 4]);
    }
}
