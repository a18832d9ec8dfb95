//! Training batches: what is in one, and which images in which order.

use std::sync::Arc;

use anyhow::Result;
use image::{GrayImage, Rgb, RgbImage};

use super::{Pairs, Scaling};

/// Images of one training step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The step, from 0.
    pub step: usize,
    /// Which images of the split these are, `[B]`.
    pub indices: Vec<usize>,
    /// Side S of the square crops, in pixels.
    pub size: usize,
    /// The crops, `[B, 3, S, S]`: red, green and blue in [0, 1], the mean colour outside of an image.
    pub images: Vec<f32>,
    /// What the network sees of them.
    pub scaling: Scaling,
    /// 1 where the image has the tag, else 0, `[B, C]`.
    pub tags: Vec<f32>,
    /// Labels `[B, S, S]`: 0 = background, c + 1 = class c, 255 = ignore; `None` where no source of labels was given.
    pub labels: Option<Vec<i32>>,
}

impl Batch {
    /// The images as the network sees them, `[B, 3, S, S]`: normalised, and 0 outside of an image.
    pub fn normalised(&self) -> Vec<f32> {
        let plane = self.size * self.size;
        let mut values = vec![0.0; self.images.len()];
        for (from, to) in self
            .images
            .chunks_exact(3 * plane)
            .zip(values.chunks_exact_mut(3 * plane))
        {
            for at in 0..plane {
                let seen = self.scaling.apply([0, 1, 2].map(|c| from[c * plane + at]));
                for (channel, value) in seen.into_iter().enumerate() {
                    to[channel * plane + at] = value;
                }
            }
        }
        values
    }

    /// The crops as 8-bit images.
    pub fn crops(&self) -> Vec<RgbImage> {
        let (side, plane) = (self.size as u32, self.size * self.size);
        let crop = |values: &[f32]| {
            RgbImage::from_fn(side, side, |x, y| {
                let at = y as usize * self.size + x as usize;
                Rgb([0, 1, 2].map(|c| (255.0 * values[c * plane + at]).round().clamp(0.0, 255.0) as u8))
            })
        };
        self.images.chunks_exact(3 * plane).map(crop).collect()
    }
}

/// Gives the label map of an image, of the image's size.
pub type Labels = Arc<dyn Fn(usize) -> Result<GrayImage> + Send + Sync>;

/// How many batches of what size.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Images in a batch.
    pub batch: usize,
    /// Steps of the whole training.
    pub steps: usize,
    /// The first step to produce; others than 0 resume a training.
    pub start: usize,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Number of threads; 0 means 1.
    pub workers: usize,
    /// Which images a batch is of.
    pub order: Order,
}

/// Which images the batches are of.
#[derive(Clone, Debug, Default)]
pub enum Order {
    /// Epochs: all images, each in an order of its own, dealt out to batches.
    #[default]
    Epochs,
    /// Groups of related images. A batch holds the queries of its groups, then the first partner of each, and so on.
    Groups {
        /// What they are drawn from.
        pairs: Arc<Pairs>,
        /// Images in a group, a divisor of the batch.
        size: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::normalize;

    #[test]
    fn a_network_sees_a_crop_as_it_sees_a_whole_image() {
        let scaling = Scaling {
            bgr: true,
            mean: [0.4, 0.5, 0.3],
            std: [0.2, 0.1, 0.25],
        };
        let image = RgbImage::from_fn(3, 3, |x, y| Rgb([x as u8 * 100, 255 - y as u8, 7]));
        let plane = |channel: usize| image.pixels().map(move |p| f32::from(p.0[channel]) / 255.0);
        let batch = Batch {
            step: 0,
            indices: vec![0],
            size: 3,
            images: (0..3).flat_map(plane).collect(),
            scaling,
            tags: vec![],
            labels: None,
        };
        assert_eq!(batch.normalised(), normalize(&image, &scaling));
        assert_eq!(batch.crops(), [image]);
    }
}
