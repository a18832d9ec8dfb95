//! Pseudo-labels: the class with the highest score per pixel (Sec. 3.4).

use anyhow::Result;
use image::GrayImage;
use ndarray::Axis;
use rayon::prelude::*;

use crate::data::decode::write_mask;
use crate::inference::{Predictor, Refine, each};
use crate::maps::{Balance, Maps, Saliency, read_maps, seeds, with_background};
use crate::pipeline::{Context, Definition, LabelSource, Product, Stage};

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "label",
    folder: "labels",
    command: Some("Stage 5: pseudo-labels from the spread maps"),
    product: Product::Labels,
    follows_objective: false,
    cost: |on| 0.5 * on.all_images(),
    work: write,
});

/// Writes `labels/IMAGE.png`, after the recipe's dense CRF: from the scores after a walk; from what a network predicts
/// of the training images' own classes (RRM, two steps), after the CRF of its part of the recipe; or from class maps
/// alone (MCIS), and by thresholds on these and saliency maps where there are any.
fn write(context: &Context) -> Result<()> {
    match context.label_source(STAGE)? {
        LabelSource::Network(stage, part) => {
            let predictor = Predictor {
                trained: context.trained_by(stage)?,
                settings: &context.recipe.predict,
            };
            let file = |image: &str| context.file(STAGE, image);
            predictor.write_labels(
                &context.data.train,
                context.own(&context.data.train),
                context.recipe.label_crf(part),
                file,
            )
        }
        LabelSource::Scores(stage) => {
            let factor = background_factor(context, stage)?;
            from_maps(context, stage, |mut scores, _| {
                scores
                    .maps
                    .index_axis_mut(Axis(0), 0)
                    .mapv_inplace(|score| factor * score);
                Ok(Step::Refine(scores))
            })
        }
        LabelSource::ClassMaps(stage) => {
            let split = &context.data.train;
            let folder = context.recipe.seeds.saliency.as_deref();
            let saliency = Saliency::open(folder, split)?;
            let thresholds = context.recipe.seeds.thresholds();
            from_maps(context, stage, |maps, i| {
                if let Some(map) = saliency.map(split.name(i), split.size(i)?)? {
                    return Ok(Step::Done(seeds(&maps, Some(&map), &thresholds)));
                }
                let (scores, values) = with_background(&maps, context.recipe.label.alpha);
                Ok(Step::Refine(Maps {
                    classes: values.into_iter().map(usize::from).collect(),
                    maps: scores,
                }))
            })
        }
    }
}

/// What background's scores of `stage` are multiplied by, so that about as much is foreground as the class maps hold,
/// where the recipe wants that.
fn background_factor(context: &Context, stage: Stage) -> Result<f32> {
    let Some(within) = context.recipe.label.foreground_within else {
        return Ok(1.0);
    };
    let (split, maps) = (&context.data.train, context.class_maps(stage)?);
    let balance = context
        .left_by(stage)
        .par_iter()
        .try_fold(Balance::default, |mut balance, i| -> Result<Balance> {
            let name = split.name(*i);
            let scores = read_maps(&context.file(stage, name))?;
            balance.add(&read_maps(&context.file(maps, name))?, &scores);
            Ok(balance)
        })
        .try_reduce(Balance::default, |mut a, b| {
            a.merge(&b);
            Ok(a)
        })?;
    let factor = balance.factor(within);
    if factor != 1.0 {
        log::info!("background counts {factor:.2} times: as much is foreground as the maps hold");
    }
    Ok(factor)
}

/// What becomes of an image's maps.
enum Step {
    /// A label.
    Done(GrayImage),
    /// Scores with a background, for the CRF.
    Refine(Maps),
}

/// Writes the label of every image that `stage` has left maps of; `prepare` gets these, and the image's number. Images
/// whose file exists are kept.
fn from_maps(context: &Context, stage: Stage, prepare: impl Fn(Maps, usize) -> Result<Step> + Sync) -> Result<()> {
    let split = &context.data.train;
    let settings = &context.recipe.label;
    let crf = settings.crf.build();
    let missing = context.missing(stage, |image| context.file(STAGE, image));
    each(&context.device, &missing, STAGE.name(), |i| {
        let name = split.name(i);
        let label = match prepare(read_maps(&context.file(stage, name))?, i)? {
            Step::Done(label) => label,
            Step::Refine(mut scores) => {
                let refine = Refine::new(crf.as_ref(), || split.image(i), &context.device)?;
                scores.maps = refine.apply(scores.maps)?;
                label(&scores, settings.ignore_below)
            }
        };
        write_mask(context.file(STAGE, name), &label)
    })
}

/// The mask value with the highest score; 255 where that score is below `ignore_below`.
fn label(scores: &Maps, ignore_below: f32) -> GrayImage {
    let mut label = scores.winners();
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
