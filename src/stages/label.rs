//! Pseudo-labels: the class with the highest score per pixel (Sec. 3.4).

use std::path::PathBuf;

use anyhow::Result;
use image::{GrayImage, RgbImage};

use super::background::{winners, with_background};
use super::inference::{batches, passes};
use super::predict::Predictor;
use super::refine::{Refine, each};
use super::seeds::{Saliency, seeds};
use super::{Context, Stage};
use crate::data::decode::write_mask;
use crate::progress;
use crate::recipe::Crf;
use crate::run::Maps;
use crate::run::files::read_maps;

/// Writes `labels/IMAGE.png`, after the recipe's dense CRF: from the maps after the walk; in a pipeline with a joint
/// network, from what that predicts of the training images' own classes (RRM, two steps), after the CRF that it learnt
/// with; and in one without a walk, from the localization maps (MCIS), or by thresholds on these and saliency maps where
/// there are any.
pub fn write(context: &Context) -> Result<()> {
    if context.pipeline.contains(&Stage::Joint) {
        let predictor = Predictor::joint(context)?;
        let file = |image: &str| context.file(Stage::Label, image, "png");
        return predicted(context, &predictor, &context.recipe.joint.crf, file);
    }
    let walks = context.pipeline.contains(&Stage::Propagate);
    let from = if walks { Stage::Propagate } else { Stage::Cam };
    let split = &context.data.train;
    let present: Vec<usize> = (0..split.len())
        .filter(|&i| context.file(from, split.name(i), "npz").exists())
        .collect();
    let settings = &context.recipe.label;
    let saliency = match walks {
        true => Saliency::none(),
        false => Saliency::open(context)?,
    };
    let crf = settings.crf.build();
    each(context, &present, "label", |i| {
        let name = split.name(i);
        let mut scores = read_maps(&context.file(from, name, "npz"))?;
        let to = context.file(Stage::Label, name, "png");
        if !walks {
            if let Some(map) = saliency.map(name, split.size(i)?)? {
                return write_mask(to, &seeds(&scores, Some(&map), &context.recipe.seeds));
            }
            let (maps, values) = with_background(&scores, settings.alpha);
            scores = Maps {
                classes: values.into_iter().map(usize::from).collect(),
                maps,
            };
        }
        let refine = Refine::new(crf.as_ref(), || split.image(i), &context.device)?;
        scores.maps = refine.apply(scores.maps)?;
        write_mask(to, &label(&scores, settings.ignore_below))
    })
}

/// Writes what a network predicts of the training images' own classes, after `crf`, to the `file` of each image's name.
/// Images whose file exists are kept.
pub fn predicted(
    context: &Context,
    predictor: &Predictor,
    crf: &Crf,
    file: impl Fn(&str) -> PathBuf,
) -> Result<()> {
    let (split, settings) = (&context.data.train, &context.recipe.predict);
    let missing: Vec<usize> = (0..split.len())
        .filter(|&i| !file(split.name(i)).exists())
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
            let predictions = predictor.masks(&images, Some(&tags), crf)?;
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
