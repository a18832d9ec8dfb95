//! The dense CRF between scores and labels.

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use image::RgbImage;
use ndarray::{Array3, Axis};

use crate::crf::unary::unary_from_probabilities;
use crate::crf::{DenseCrf, OnImage};

/// A CRF on one image, or none, which leaves scores as they are.
pub struct Refine(Option<OnImage>);

impl Refine {
    /// `crf` with the lattices of `image`, which is not read without a CRF.
    ///
    /// # Errors
    /// Where the image cannot be read or is too large for the device.
    pub fn new(crf: Option<&DenseCrf>, image: impl FnOnce() -> Result<RgbImage>, device: &Device) -> Result<Refine> {
        let on = |crf: &DenseCrf| -> Result<OnImage> { Ok(crf.on(&image()?, device)?) };
        let on_image = crf.map(on).transpose();
        Ok(Refine(on_image.context("dense CRF")?))
    }

    /// Scores `[K, H, W]`, at least 0, in any proportion → posterior `[K, H, W]`.
    ///
    /// # Errors
    /// Where the scores are of another size than the image, or hold values that are not numbers.
    pub fn apply(&self, scores: Array3<f32>) -> Result<Array3<f32>> {
        let Some(crf) = &self.0 else {
            return Ok(scores);
        };
        crf.refine(unary_from_probabilities(probabilities(scores)).view())
            .context("dense CRF")
    }
}

/// Scores `[K, H, W]`, at least 0, divided by their sum at every pixel.
pub fn probabilities(scores: Array3<f32>) -> Array3<f32> {
    let sum = scores.sum_axis(Axis(0)).mapv(|s| s.max(f32::MIN_POSITIVE));
    scores / &sum.insert_axis(Axis(0))
}
