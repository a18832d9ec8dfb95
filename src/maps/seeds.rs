//! Labels of the pixels that class activation maps are sure of, by thresholds, with the background from saliency maps
//! where there are any (CIAN, "Initial Seeds").

use image::GrayImage;

use super::background::background;
use super::scores::Maps;

/// Label of a pixel that is in no seed.
const IGNORE: u8 = 255;

/// What seeds are told by, each in the unit of what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeedThresholds {
    /// Least score of a class's pixels, in [0, 1].
    pub foreground: f32,
    /// Without a saliency map, background is where (1 - best score)^alpha is above every score (AffinityNet Eq. 2).
    pub alpha: f32,
    /// With a saliency map, background is where it is below this, in [0, 1].
    pub background: f32,
}

/// The seeds of an image: a class where its map is the highest and at least `foreground`, background where the saliency
/// is low or, without saliency, where the background's score wins; 255 where neither or both hold.
pub fn seeds(maps: &Maps, saliency: Option<&GrayImage>, thresholds: &SeedThresholds) -> GrayImage {
    let mut label = maps.winners();
    let peak = maps.peaks();
    let score = background(maps.maps.view(), thresholds.alpha);
    for (i, (label, (peak, score))) in label.iter_mut().zip(peak.iter().zip(&score)).enumerate() {
        let is_background = match saliency.and_then(|s| s.as_raw().get(i)) {
            Some(value) => f32::from(*value) / 255.0 < thresholds.background,
            None => score > peak,
        };
        let is_class = *peak >= thresholds.foreground && *peak > 0.0;
        *label = match (is_class, is_background) {
            (true, false) => *label,
            (false, true) => 0,
            _ => IGNORE,
        };
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn seeds_are_class_background_or_neither() {
        let thresholds = SeedThresholds {
            foreground: 0.3,
            alpha: 8.0,
            background: 0.06,
        };
        let maps = Maps {
            classes: vec![2, 5],
            maps: array![[[0.9, 0.2, 0.05, 0.3]], [[0.1, 0.25, 0.0, 0.8]]],
        };
        // alpha 8: 1e-8, 0.1, 0.66, 2.6e-6
        assert_eq!(seeds(&maps, None, &thresholds).into_raw(), [2, 255, 0, 5]);
        let saliency = GrayImage::from_raw(4, 1, vec![200, 15, 16, 15]).unwrap();
        let with = seeds(&maps, Some(&saliency), &thresholds).into_raw();
        assert_eq!(with, [2, 0, 255, 255]);
    }
}
