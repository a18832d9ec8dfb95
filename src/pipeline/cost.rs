//! What stages cost relative to each other, for estimates of time: in images that the classifier learns from.

use anyhow::Result;

use crate::data::Split;
use crate::inference::network_size;
use crate::recipe::{Part, Recipe, Training};
use crate::train;

/// Images whose sizes are looked at.
const LOOKED_AT: usize = 64;

/// What there is to work on.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Number of training images.
    pub images: usize,
    /// Pixels of an image as networks see it, in the mean.
    pub pixels: f64,
}

impl Load {
    /// Of the images of `split`, in networks that see them as the classifier of `recipe`.
    ///
    /// # Errors
    /// Where no weights of its backbone are known, which no checked recipe has.
    pub fn of(split: &Split, recipe: &Recipe) -> Result<Load> {
        let input = recipe.network_input(&recipe.backbone(Part::Classify).name)?;
        let step = (split.len() / LOOKED_AT).max(1);
        let areas: Vec<f64> = (0..split.len())
            .step_by(step)
            .filter_map(|i| split.size(i).ok())
            .map(|size| {
                let (w, h) = network_size(size, &input);
                f64::from(w) * f64::from(h)
            })
            .collect();
        Ok(Load {
            images: split.len(),
            pixels: areas.iter().sum::<f64>() / areas.len().max(1) as f64,
        })
    }
}

/// A pass through a network in units of a training step, which is three of them.
const PASS: f64 = 1.0 / 3.0;

/// What a stage's cost depends on.
///
/// Factors of the stages are of Nano and EfficientNet-Lite on the CPU: those of the classifier, affinity, segmentation,
/// joint network, maps and walk are measured, the others are guesses.
#[derive(Clone, Copy)]
pub struct Workload<'a> {
    /// Hyper-parameters.
    pub recipe: &'a Recipe,
    /// Images.
    pub load: Load,
}

impl Workload<'_> {
    /// A `training` of a network that costs what the classifier does.
    pub fn training(&self, training: &Training) -> f64 {
        let pixels = f64::from(training.augment.crop) / self.crop();
        (train::steps(training, self.load.images) * training.batch) as f64 * pixels * pixels
    }

    /// A pass over every image at its own size.
    pub fn all_images(&self) -> f64 {
        let crop = self.crop();
        PASS * self.load.images as f64 * self.load.pixels / (crop * crop)
    }

    /// Passes over every pixel at all of `scales`, with `flip` or without.
    pub fn passes(scales: &[f32], flip: bool) -> f64 {
        squares(scales) * if flip { 2.0 } else { 1.0 }
    }

    /// The passes at all of `scales` in each step of a training, in steps.
    pub fn passes_in_step(scales: &[f32]) -> f64 {
        squares(scales) * PASS
    }

    /// Side of the classifier's crops, pixels.
    fn crop(&self) -> f64 {
        f64::from(self.recipe.classify.augment.crop.max(1))
    }
}

fn squares(scales: &[f32]) -> f64 {
    scales.iter().map(|s| f64::from(s * s)).sum()
}
