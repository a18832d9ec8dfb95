//! Training batches: what is in one, and which images in which order.

use std::sync::Arc;

use anyhow::Result;
use image::GrayImage;

use super::Pairs;

/// Images of one training step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The step, from 0.
    pub step: usize,
    /// Which images of the split these are, `[B]`.
    pub indices: Vec<usize>,
    /// Side S of the square crops, in pixels.
    pub size: usize,
    /// Normalised images, `[B, 3, S, S]`.
    pub images: Vec<f32>,
    /// 1 where the image has the tag, else 0, `[B, C]`.
    pub tags: Vec<f32>,
    /// Labels `[B, S, S]`: 0 = background, c + 1 = class c, 255 = ignore; `None` where no source of labels was given.
    pub labels: Option<Vec<i32>>,
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
