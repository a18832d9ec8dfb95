//! Pseudo-labels: the class with the highest score per pixel (Sec. 3.4).

use anyhow::Result;
use image::{GrayImage, RgbImage};

use super::background::winners;
use super::inference::{batches, passes};
use super::predict::Predictor;
use super::refine::{Refine, each};
use super::{Context, Stage};
use crate::data::decode::write_mask;
use crate::progress;
use crate::run::Maps;
use crate::run::files::read_maps;

/// Writes `labels/IMAGE.png`, after the recipe's dense CRF: from the maps after the walk, or, in a pipeline with a joint
/// network, from what that predicts of the training images' own classes (RRM, two steps).
pub fn write(context: &Context) -> Result<()> {
    if context.pipeline.contains(&Stage::Joint) {
        return from_joint(context);
    }
    let split = &context.data.train;
    let present: Vec<usize> = (0..split.len())
        .filter(|&i| {
            context
                .file(Stage::Propagate, split.name(i), "npz")
                .exists()
        })
        .collect();
    let settings = &context.recipe.label;
    let crf = settings.crf.build();
    each(context, &present, "label", |i| {
        let mut scores = read_maps(&context.file(Stage::Propagate, split.name(i), "npz"))?;
        let refine = Refine::new(crf.as_ref(), || split.image(i), &context.device)?;
        scores.maps = refine.apply(scores.maps)?;
        let label = label(&scores, settings.ignore_below);
        write_mask(context.file(Stage::Label, split.name(i), "png"), &label)
    })
}

fn from_joint(context: &Context) -> Result<()> {
    let predictor = Predictor::joint(context)?;
    let (split, settings) = (&context.data.train, &context.recipe.predict);
    let missing: Vec<usize> = (0..split.len())
        .filter(|&i| !context.file(Stage::Label, split.name(i), "png").exists())
        .collect();
    let bar = progress::bar(missing.len() as u64, "image", "label");
    batches(
        &missing,
        settings.batch,
        passes(&settings.scales, settings.flip),
        &context.device,
        |i| split.image(i),
        |batch| {
            let images: Vec<&RgbImage> = batch.iter().map(|(_, image)| image).collect();
            let tags: Vec<&[usize]> = batch.iter().map(|(i, _)| split.tags(*i)).collect();
            let crf = &context.recipe.label.crf;
            let predictions = predictor.masks(&images, Some(&tags), crf)?;
            for ((i, _), prediction) in batch.iter().zip(predictions) {
                let path = context.file(Stage::Label, split.name(*i), "png");
                write_mask(path, &prediction.mask)?;
                bar.inc(1);
            }
            Ok(())
        },
        |i, error| log::warn!("{}: skipped: {error:#}", split.source(i)),
    )?;
    bar.finish();
    Ok(())
}

/// The mask value with the highest score; 255 where that score is below `ignore_below`.
pub fn label(scores: &Maps, ignore_below: f32) -> GrayImage {
    let values: Vec<u8> = scores.classes.iter().map(|c| *c as u8).collect();
    let mut label = winners(scores.maps.view(), &values);
    if ignore_below > 0.0 {
        for (x, y, pixel) in label.enumerate_pixels_mut() {
            let here = scores.maps.slice(ndarray::s![.., y as usize, x as usize]);
            if here.iter().all(|score| *score < ignore_below) {
                pixel.0 = [255];
            }
        }
    }
    label
}
