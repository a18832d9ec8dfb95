//! Score maps of one image, and who wins among them.

use image::GrayImage;
use ndarray::{Array2, Array3, ArrayView3, Axis};

/// Score maps of one image: one map per tagged class and, in what the random walk writes, one of the background.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// The mask value of each map, K of them: 0 = background, c + 1 = class c.
    pub classes: Vec<usize>,
    /// `[K, H, W]`, scores in [0, 1].
    pub maps: Array3<f32>,
}

impl Maps {
    /// The tagged classes' maps `[K, H, W]`, at least 0, each divided by its maximum (AffinityNet Eq. 1); `tags` are
    /// the classes' indices.
    pub fn of_tags(mut maps: Array3<f32>, tags: &[usize]) -> Maps {
        normalise(&mut maps);
        Maps {
            classes: tags.iter().map(|t| t + 1).collect(),
            maps,
        }
    }

    /// The mask value of each map, as masks hold them.
    pub fn mask_values(&self) -> Vec<u8> {
        self.classes.iter().map(|c| *c as u8).collect()
    }

    /// The mask value with the highest score per pixel, as [`winners`].
    pub fn winners(&self) -> GrayImage {
        winners(self.maps.view(), &self.mask_values())
    }

    /// The highest score of every pixel, `[H, W]`, at least 0.
    pub fn peaks(&self) -> Array2<f32> {
        self.maps.fold_axis(Axis(0), 0.0f32, |m, v| m.max(*v))
    }
}

/// Divides each map of `[K, H, W]`, at least 0, by its maximum; one that fires nowhere stays 0.
pub fn normalise(maps: &mut Array3<f32>) {
    for mut map in maps.outer_iter_mut() {
        let largest = map.fold(0.0f32, |m, v| m.max(*v));
        if largest > 0.0 {
            map /= largest;
        }
    }
}

/// The mask value with the highest score per pixel: scores `[K, H, W]`, `values[k]` the mask value of row k. Earlier
/// rows win ties.
pub fn winners(scores: ArrayView3<f32>, values: &[u8]) -> GrayImage {
    let (_, h, w) = scores.dim();
    let mut best = Array2::from_elem((h, w), f32::NEG_INFINITY);
    let mut winner = vec![0u8; h * w];
    for (score, value) in scores.outer_iter().zip(values) {
        for ((best, winner), score) in best.iter_mut().zip(&mut winner).zip(score) {
            if *score > *best {
                *best = *score;
                *winner = *value;
            }
        }
    }
    GrayImage::from_raw(w as u32, h as u32, winner).unwrap_or_default()
}
