//! What stages cost relative to each other, for estimates of time.

use super::Stage;
use super::inference::network_size;
use crate::data::Split;
use crate::recipe::{NetworkInput, Recipe, Training};
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
    /// Of the images of `split`, in networks whose input is `input`.
    pub fn of(split: &Split, input: &NetworkInput) -> Load {
        let step = (split.len() / LOOKED_AT).max(1);
        let areas: Vec<f64> = (0..split.len())
            .step_by(step)
            .filter_map(|i| split.size(i).ok())
            .map(|size| {
                let (w, h) = network_size(size, input);
                f64::from(w) * f64::from(h)
            })
            .collect();
        Load {
            images: split.len(),
            pixels: areas.iter().sum::<f64>() / areas.len().max(1) as f64,
        }
    }
}

/// The work of `stage` on a `load`, about, in images that the classifier learns from.
pub fn of(stage: Stage, recipe: &Recipe, load: Load) -> f64 {
    let crop = f64::from(recipe.classify.augment.crop.max(1));
    let training = |training: &Training| {
        let pixels = f64::from(training.augment.crop) / crop;
        (train::steps(training, load.images) * training.batch) as f64 * pixels * pixels
    };
    // A step is three passes.
    let pass = 1.0 / 3.0;
    let squares = |scales: &[f32]| scales.iter().map(|s| f64::from(s * s)).sum::<f64>();
    let flips = |flip: bool| if flip { 2.0 } else { 1.0 };
    // A pass over every image at its own size.
    let all = pass * load.images as f64 * load.pixels / (crop * crop);
    // Nano's and EfficientNet-Lite's on the CPU: those of the classifier, affinity, segmentation, joint network, maps and
    // walk are measured, the others are guesses.
    match stage {
        Stage::Classify => training(&recipe.classify),
        Stage::Affinity if recipe.affinity.training.head_alone => {
            0.8 * training(&recipe.affinity.training)
        }
        Stage::Affinity => 1.6 * training(&recipe.affinity.training),
        Stage::Segment => 2.0 * training(&recipe.segment),
        // Maps at every scale, a CRF on each image, and the lattice of the loss.
        Stage::Joint => {
            (2.0 + squares(&recipe.joint.scales) * pass) * training(&recipe.joint.training)
        }
        Stage::Cross => 2.5 * recipe.cian.rounds.max(1) as f64 * training(&recipe.cian.training),
        Stage::Coattend => 1.5 * training(&recipe.mcis.training),
        Stage::Cam => squares(&recipe.cam.scales) * flips(recipe.cam.flip) * all,
        Stage::Propagate => (2.0 + f64::from(recipe.propagate.scale.powi(2))) * all,
        Stage::Label => 0.5 * all,
        // As a quarter as many images.
        Stage::Predict => {
            0.25 * (1.0 + squares(&recipe.predict.scales) * flips(recipe.predict.flip)) * all
        }
    }
}
