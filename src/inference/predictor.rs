//! Masks from a trained segmentation network.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Tensor;
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
use crate::models::forward::Forward;
use crate::models::tasks::Segmenter;
use crate::progress;
use crate::recipe::{Average, Crf, Predict};

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
        download_maps(averaged(self.settings, segmenter, || trained.forward(), x))
    }

    /// Masks of images of one size, after `crf`. With `tags`, an image's mask has no other classes than its own.
    ///
    /// # Errors
    /// Where the device fails, or an image is too large for it.
    pub fn masks(&self, images: &[&RgbImage], tags: Option<&[&[usize]]>, crf: &Crf) -> Result<Vec<Prediction>> {
        let device = &self.trained.device;
        let probabilities = self.probabilities(images)?;
        let rows = probabilities.dim().1;
        let crf = crf.build();
        let items: Vec<_> = probabilities.outer_iter().zip(images).enumerate().collect();
        map(device, &items, |(i, (scores, image))| {
            let kept: Vec<usize> = match tags.and_then(|tags| tags.get(*i)) {
                Some(tags) => std::iter::once(0).chain(tags.iter().map(|t| t + 1)).collect(),
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

    /// Writes what the network predicts of the own classes of these `images` of `split`, after `crf`, to the `file` of each
    /// image's name. Images whose file exists are kept, those that cannot be read are skipped with a warning.
    ///
    /// # Errors
    /// Where the device fails, or a file cannot be written.
    pub fn write_labels(
        &self,
        split: &Split,
        images: Range<usize>,
        crf: &Crf,
        file: impl Fn(&str) -> PathBuf,
    ) -> Result<()> {
        self.write(split, images, true, crf, file)
    }

    /// As [`Self::write_labels`], where a pixel may have any class.
    ///
    /// # Errors
    /// As [`Self::write_labels`].
    pub fn write_masks(
        &self,
        split: &Split,
        images: Range<usize>,
        crf: &Crf,
        file: impl Fn(&str) -> PathBuf,
    ) -> Result<()> {
        self.write(split, images, false, crf, file)
    }

    fn write(
        &self,
        split: &Split,
        images: Range<usize>,
        tagged: bool,
        crf: &Crf,
        file: impl Fn(&str) -> PathBuf,
    ) -> Result<()> {
        let missing: Vec<usize> = images.filter(|&i| !file(split.name(i)).exists()).collect();
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
                let tags = tagged.then_some(tags.as_slice());
                let predictions = self.masks(&images, tags, crf)?;
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

/// Probabilities of images `[B, 3, H, W]`, averaged over sizes and flips as `settings` say, `[B, C + 1, H, W]`.
/// `forward` begins a pass of the network.
fn averaged<'a>(
    settings: &Predict,
    segmenter: Segmenter,
    forward: impl Fn() -> Forward<'a>,
    images: Tensor<4>,
) -> Tensor<4> {
    let (scales, flip) = (&settings.scales, settings.flip);
    let scores = |x| segmenter.scores(&forward(), x);
    let mean = match settings.average {
        Average::Probabilities => {
            return multi_scale(images, scales, flip, |x| softmax(scores(x), 1));
        }
        Average::Logits => multi_scale(images, scales, flip, scores),
        Average::Maximum => {
            // A flip has a maximum of its own.
            let of_all = |x: Tensor<4>| with_maximum(scales, |scale| multi_scale(x.clone(), &[scale], false, scores));
            multi_scale(images, &[1.0], flip, of_all)
        }
    };
    softmax(mean, 1)
}

/// Mean of the `scores` of all `scales`, of which there is one at least, and of their maximum.
fn with_maximum(scales: &[f32], scores: impl Fn(f32) -> Tensor<4>) -> Tensor<4> {
    let first = scores(scales.first().copied().unwrap_or(1.0));
    let (mut sum, mut largest) = (first.clone(), first);
    for scale in scales.iter().skip(1) {
        let scores = scores(*scale);
        sum = sum + scores.clone();
        largest = largest.max_pair(scores);
    }
    (sum + largest) / (scales.len().max(1) + 1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::download;
    use burn::tensor::Device;

    #[test]
    fn the_maximum_counts_as_one_more_size() {
        let device = Device::flex();
        let scores = |scale: f32| Tensor::<4>::from_data([[[[scale, 1.0f32]]], [[[2.0, -scale]]]], &device);
        let out = download(with_maximum(&[0.5, 1.0, 4.5], scores)).unwrap();
        let expected = [(0.5 + 1.0 + 4.5 + 4.5) / 4.0, 1.0, 2.0, -(0.5 + 1.0 + 4.5 + 0.5) / 4.0];
        assert_eq!(out, expected);
    }
}
