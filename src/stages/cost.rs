//! What stages cost relative to each other, for estimates of time.

use super::Stage;
use crate::recipe::{Recipe, Training};
use crate::train;

/// The work of `stage` on `images` training images, about, in images that the classifier learns from.
pub fn of(stage: Stage, recipe: &Recipe, images: usize) -> f64 {
    let crop = recipe.classify.augment.crop.max(1);
    let training = |training: &Training| {
        let pixels = f64::from(training.augment.crop) / f64::from(crop);
        (train::steps(training, images) * training.batch) as f64 * pixels * pixels
    };
    // A step is three passes.
    let pass = 1.0 / 3.0;
    let squares = |scales: &[f32]| scales.iter().map(|s| f64::from(s * s)).sum::<f64>();
    let passes = squares(&recipe.cam.scales) * if recipe.cam.flip { 2.0 } else { 1.0 };
    // Nano's on the CPU: those of the classifier, affinity, segmentation, joint network and maps are measured, the others
    // are guesses.
    match stage {
        Stage::Classify => training(&recipe.classify),
        Stage::Affinity => 1.6 * training(&recipe.affinity.training),
        Stage::Segment => 2.0 * training(&recipe.segment),
        // Maps at every scale, a CRF on each image, and the lattice of the loss.
        Stage::Joint => {
            (2.0 + squares(&recipe.joint.scales) * pass) * training(&recipe.joint.training)
        }
        Stage::Cross => 2.5 * recipe.cian.rounds.max(1) as f64 * training(&recipe.cian.training),
        Stage::Coattend => 1.5 * training(&recipe.mcis.training),
        Stage::Cam => passes * pass * images as f64,
        Stage::Propagate => images as f64,
        Stage::Label | Stage::Predict => 0.3 * images as f64,
    }
}
