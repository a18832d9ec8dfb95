//! The dense CRF between scores and labels.

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use image::RgbImage;
use ndarray::{Array3, Axis, Zip};
use rayon::prelude::*;

use super::Context;
use crate::crf::{DenseCrf, OnImage, unary};
use crate::progress;

/// A CRF on one image, or none, which leaves scores as they are.
pub struct Refine(Option<OnImage>);

impl Refine {
    /// `crf` with the lattices of `image`, which is not read without a CRF.
    ///
    /// # Errors
    /// Where the image cannot be read or is too large for the device.
    pub fn new(
        crf: Option<&DenseCrf>,
        image: impl FnOnce() -> Result<RgbImage>,
        device: &Device,
    ) -> Result<Refine> {
        let on_image = crf.map(|crf| crf.on(&image()?, device)).transpose();
        Ok(Refine(on_image.context("dense CRF")?))
    }

    /// Scores `[K, H, W]`, at least 0, in any proportion → posterior `[K, H, W]`.
    ///
    /// # Errors
    /// Where the scores are of another size than the image, or hold values that are not numbers.
    pub fn apply(&self, mut scores: Array3<f32>) -> Result<Array3<f32>> {
        let Some(crf) = &self.0 else {
            return Ok(scores);
        };
        let sum = scores.sum_axis(Axis(0)).mapv(|s| s.max(f32::MIN_POSITIVE));
        for mut plane in scores.outer_iter_mut() {
            Zip::from(&mut plane).and(&sum).for_each(|p, s| *p /= s);
        }
        crf.refine(unary::from_probabilities(scores.view()).view())
            .context("dense CRF")
    }
}

/// Does `work` for each image, under a bar: side by side on the CPU, one after another on a device, which is busy with
/// one image already.
///
/// # Errors
/// The first that `work` returns.
pub fn each(
    context: &Context,
    images: &[usize],
    label: &'static str,
    work: impl Fn(usize) -> Result<()> + Sync,
) -> Result<()> {
    let bar = progress::bar(images.len() as u64, "image", label);
    let step = |&i: &usize| -> Result<()> {
        work(i)?;
        bar.inc(1);
        Ok(())
    };
    if context.device == Device::flex() {
        images.par_iter().try_for_each(step)?;
    } else {
        images.iter().try_for_each(step)?;
    }
    bar.finish();
    Ok(())
}
