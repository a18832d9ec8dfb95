//! Predicting masks with the trained segmentation network.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use burn::tensor::activation::softmax;
use image::{GrayImage, RgbImage};
use ndarray::{Array4, Axis};

use super::background::winners;
use super::inference::{batches, download_maps, enlarge, multi_scale, passes, upload};
use super::refine::{Refine, map};
use super::{Context, Stage, joint};
use crate::data::Split;
use crate::data::decode::write_mask;
use crate::models::Network;
use crate::models::forward::{Forward, Mode};
use crate::models::params::Parameters;
use crate::progress;
use crate::recipe::{Crf, NetworkInput, Predict};
use crate::train;

/// A trained segmentation network, ready to predict.
pub struct Predictor<'a> {
    /// Its architecture.
    pub network: Network,
    /// Its parameters.
    pub parameters: Parameters,
    /// How images go into it.
    pub input: NetworkInput,
    /// Scales, flips and the CRF.
    pub settings: &'a Predict,
    /// Where to compute.
    pub device: Device,
}

impl<'a> Predictor<'a> {
    /// The network that the run's `segment` stage trained, or, where there is none, its `cross` or `joint` stage.
    pub fn load(context: &'a Context) -> Result<Predictor<'a>> {
        let (stage, head) = Stage::segmenter(context.pipeline, context.classes());
        Predictor::of(context, stage, context.network(head)?)
    }

    /// The network that the run's `joint` stage trained.
    pub fn joint(context: &'a Context) -> Result<Predictor<'a>> {
        Predictor::of(context, Stage::Joint, joint::network(context)?)
    }

    fn of(context: &'a Context, stage: Stage, network: Network) -> Result<Predictor<'a>> {
        let checkpoint = context.folder(stage).join(train::CHECKPOINT);
        Ok(Predictor {
            parameters: train::load(&network, &checkpoint, &context.device)?,
            input: context.input(&network)?,
            network,
            settings: &context.recipe.predict,
            device: context.device.clone(),
        })
    }

    /// Probabilities of images of one size, at the size that the network sees, `[B, C + 1, h, w]`, background first.
    pub fn probabilities(&self, images: &[&RgbImage]) -> Result<Array4<f32>> {
        if images.is_empty() {
            return Ok(Array4::zeros((0, 0, 0, 0)));
        }
        let x = upload(images.iter().copied(), &self.input, &self.device);
        let segmenter = self.network.segmenter()?;
        let out = multi_scale(x, &self.settings.scales, self.settings.flip, |x| {
            let forward = Forward::new(&self.parameters, Mode::Inference);
            softmax(segmenter.scores(&forward, x), 1)
        });
        download_maps(out)
    }

    /// Masks of images of one size, after `crf`. With `tags`, an image's mask has no other classes than its own.
    pub fn masks(
        &self,
        images: &[&RgbImage],
        tags: Option<&[&[usize]]>,
        crf: &Crf,
    ) -> Result<Vec<Prediction>> {
        let probabilities = self.probabilities(images)?;
        let rows = probabilities.dim().1;
        let crf = crf.build();
        let items: Vec<_> = probabilities.outer_iter().zip(images).enumerate().collect();
        map(&self.device, &items, |(i, (scores, image))| {
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
            let refine = Refine::new(crf.as_ref(), || Ok((**image).clone()), &self.device)?;
            Ok(Prediction {
                mask: winners(refine.apply(scores)?.view(), &values),
                network,
            })
        })
    }
}

/// What is predicted for one image.
pub struct Prediction {
    /// After the CRF.
    pub mask: GrayImage,
    /// The network's own.
    pub network: GrayImage,
}

/// The file of the network's own mask, before a CRF: in `predict/network/`.
pub fn network_file(context: &Context, image: &str) -> PathBuf {
    context
        .folder(Stage::Predict)
        .join("network")
        .join(format!("{image}.png"))
}

/// The images that the pipeline predicts: the validation split, or the training split where there is none.
pub fn split(context: &Context) -> &Split {
    if context.data.val.is_empty() {
        &context.data.train
    } else {
        &context.data.val
    }
}

/// Writes `predict/IMAGE.png` for every image of [`split`], and with a CRF the network's own masks beside it.
pub fn write(context: &Context) -> Result<()> {
    let predictor = Predictor::load(context)?;
    let split = split(context);
    let missing: Vec<usize> = (0..split.len())
        .filter(|&i| !context.file(Stage::Predict, split.name(i), "png").exists())
        .collect();
    let settings = &context.recipe.predict;
    let refines = settings.crf.build().is_some();
    let bar = progress::bar(missing.len() as u64, "image", "predict");
    let mut failed = 0;
    batches(
        &missing,
        context.recipe.predict.batch,
        passes(&context.recipe.predict.scales, context.recipe.predict.flip),
        &context.device,
        |i| split.image(i),
        |batch| {
            let images: Vec<&RgbImage> = batch.iter().map(|(_, image)| image).collect();
            let tags: Vec<&[usize]> = batch.iter().map(|(i, _)| split.tags(*i)).collect();
            let tags = settings.use_tags.then_some(tags.as_slice());
            let predictions = predictor.masks(&images, tags, &settings.crf)?;
            for ((i, _), prediction) in batch.iter().zip(predictions) {
                let name = split.name(*i);
                if refines {
                    write_mask(network_file(context, name), &prediction.network)?;
                }
                write_mask(context.file(Stage::Predict, name, "png"), &prediction.mask)?;
                bar.inc(1);
            }
            Ok(())
        },
        |i, error| {
            failed += 1;
            log::warn!("{}: skipped: {error:#}", split.source(i));
        },
    )?;
    bar.finish();
    ensure!(
        failed < split.len(),
        "no image could be read: see the warnings above"
    );
    Ok(())
}
