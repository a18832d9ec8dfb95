//! Masks from a trained segmentation network.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::activation::softmax;
use image::{GrayImage, RgbImage};
use ndarray::{Array4, Axis};

use super::batches::batches;
use super::multi_scale::{download_maps, multi_scale, passes};
use super::parallel::map;
use super::refine::Refine;
use super::trained::Trained;
use crate::data::Split;
use crate::data::decode::write_mask;
use crate::maps::{enlarge, winners};
use crate::progress;
use crate::recipe::{Crf, Predict};

/// A trained network that gives masks, and how it is used.
pub struct Predictor<'a> {
    /// The network.
    pub trained: Trained,
    /// Scales, flips and batches.
    pub settings: &'a Predict,
}

/// What is predicted for one image.
pub struct Prediction {
    /// After the CRF.
    pub mask: GrayImage,
    /// The network's own.
    pub network: GrayImage,
}

impl Predictor<'_> {
    /// Probabilities of images of one size, at the size that the network sees, `[B, C + 1, h, w]`, background first.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn probabilities(&self, images: &[&RgbImage]) -> Result<Array4<f32>> {
        if images.is_empty() {
            return Ok(Array4::zeros((0, 0, 0, 0)));
        }
        let trained = &self.trained;
        let x = trained.upload(images.iter().copied());
        let segmenter = trained.network.segmenter()?;
        let out = multi_scale(x, &self.settings.scales, self.settings.flip, |x| {
            softmax(segmenter.scores(&trained.forward(), x), 1)
        });
        download_maps(out)
    }

    /// Masks of images of one size, after `crf`. With `tags`, an image's mask has no other classes than its own.
    ///
    /// # Errors
    /// Where the device fails, or an image is too large for it.
    pub fn masks(
        &self,
        images: &[&RgbImage],
        tags: Option<&[&[usize]]>,
        crf: &Crf,
    ) -> Result<Vec<Prediction>> {
        let device = &self.trained.device;
        let probabilities = self.probabilities(images)?;
        let rows = probabilities.dim().1;
        let crf = crf.build();
        let items: Vec<_> = probabilities.outer_iter().zip(images).enumerate().collect();
        map(device, &items, |(i, (scores, image))| {
            let kept: Vec<usize> = match tags.and_then(|tags| tags.get(*i)) {
                Some(tags) => std::iter::once(0)
                    .chain(tags.iter().map(|t| t + 1))
                    .collect(),
                None => (0..rows).collect(),
            };
            let values: Vec<u8> = kept.iter().map(|row| *row as u8).collect();
            let scores = enlarge(scores.select(Axis(0), &kept), image.dimensions());
            let network = winners(scores.view(), &values);
            if crf.is_none() {
                return Ok(Prediction {
                    mask: network.clone(),
                    network,
                });
            }
            let refine = Refine::new(crf.as_ref(), || Ok((**image).clone()), device)?;
            Ok(Prediction {
                mask: winners(refine.apply(scores)?.view(), &values),
                network,
            })
        })
    }

    /// Writes what the network predicts of the own classes of the images of `split`, after `crf`, to the `file` of each
    /// image's name. Images whose file exists are kept, those that cannot be read are skipped with a warning.
    ///
    /// # Errors
    /// Where the device fails, or a file cannot be written.
    pub fn write_labels(
        &self,
        split: &Split,
        crf: &Crf,
        file: impl Fn(&str) -> PathBuf,
    ) -> Result<()> {
        let missing: Vec<usize> = split
            .indices()
            .filter(|&i| !file(split.name(i)).exists())
            .collect();
        let bar = progress::bar(missing.len() as u64, "image", "label");
        batches(
            &missing,
            self.settings.batch,
            passes(&self.settings.scales, self.settings.flip),
            &self.trained.device,
            |i| split.image(i),
            |batch| {
                let images: Vec<&RgbImage> = batch.iter().map(|(_, image)| image).collect();
                let tags: Vec<&[usize]> = batch.iter().map(|(i, _)| split.tags(*i)).collect();
                let predictions = self.masks(&images, Some(&tags), crf)?;
                for ((i, _), prediction) in batch.iter().zip(predictions) {
                    write_mask(file(split.name(*i)), &prediction.mask)?;
                    bar.inc(1);
                }
                Ok(())
            },
            |i, error| log::warn!("{}: skipped: {error:#}", split.source(i)),
        )?;
        bar.finish();
        Ok(())
    }
}
