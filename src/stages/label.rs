//! Pseudo-labels: the class with the highest score per pixel (Sec. 3.4).

use anyhow::Result;
use image::GrayImage;
use ndarray::Axis;
use rayon::prelude::*;

use crate::data::decode::write_mask;
use crate::inference::{Predictor, Refine, each};
use crate::maps::{Balance, Maps, Saliency, competing, read_maps, seeds, with_background};
use crate::pipeline::{Context, Definition, LabelSource, Product, Stage};
use crate::recipe::LabelRule;

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

/// Writes the labels, and over them those that somebody has corrected.
fn write(context: &Context) -> Result<()> {
    make(context)?;
    let corrected = context.keep_corrected(STAGE)?;
    if corrected > 0 {
        log::info!("{corrected} corrected labels are kept");
    }
    Ok(())
}

/// Writes `labels/IMAGE.png`, after the recipe's dense CRF: from the scores after a walk; from what a network predicts
/// of the training images' own classes (RRM, two steps), after the CRF of its part of the recipe; or from class maps
/// alone (MCIS), and by the recipe's rule on these and saliency maps where there are any.
fn make(context: &Context) -> Result<()> {
    match context.label_source(STAGE)? {
        LabelSource::Network(stage, part) => {
            let predictor = Predictor {
                trained: context.trained_by(stage)?,
                settings: &context.recipe.predict,
            };
            let file = |image: &str| context.file(STAGE, image);
            predictor.write_labels(&context.data.train, context.recipe.label_crf(part), file)
        }
        LabelSource::Scores(stage) => {
            let factor = background_factor(context, stage, |name, _| read_maps(&context.file(stage, name)))?;
            from_maps(context, stage, |scores, _| Ok(Step::Refine(scaled(scores, factor))))
        }
        LabelSource::ClassMaps(stage) => {
            let split = &context.data.train;
            let folder = context.recipe.seeds.saliency.as_deref();
            let saliency = Saliency::open(folder, split)?;
            let thresholds = context.recipe.seeds.thresholds();
            let scores = |maps: &Maps| scored(maps, context.recipe.label.alpha);
            let factor = background_factor(context, stage, |_, maps| Ok(scores(maps)))?;
            from_maps(context, stage, |maps, i| {
                if let Some(map) = saliency.map(split.name(i), split.size(i)?)? {
                    return Ok(Step::Done(match context.recipe.label.rule {
                        LabelRule::Thresholds => seeds(&maps, Some(&map), &thresholds),
                        LabelRule::Released => competing(&maps, &map),
                    }));
                }
                Ok(Step::Refine(scaled(scores(&maps), factor)))
            })
        }
    }
}

/// Class maps with the background's score (AffinityNet Eq. 2) in front.
fn scored(maps: &Maps, alpha: f32) -> Maps {
    let (scores, values) = with_background(maps, alpha);
    Maps {
        classes: values.into_iter().map(usize::from).collect(),
        maps: scores,
    }
}

/// The scores with background's, which are in front, multiplied by `factor`.
fn scaled(mut scores: Maps, factor: f32) -> Maps {
    let mut background = scores.maps.index_axis_mut(Axis(0), 0);
    background.mapv_inplace(|score| factor * score);
    scores
}

/// What background's scores are multiplied by, so that about as much is foreground as the class maps hold, where the
/// recipe wants that. `scores` gives those of an image that `stage` has left, by its name and its class maps.
fn background_factor(
    context: &Context,
    stage: Stage,
    scores: impl Fn(&str, &Maps) -> Result<Maps> + Sync,
) -> Result<f32> {
    let Some(within) = context.recipe.label.foreground_within else {
        return Ok(1.0);
    };
    let (split, maps) = (&context.data.train, context.class_maps(STAGE)?);
    let balance = context
        .left_by(stage)
        .par_iter()
        .try_fold(Balance::default, |mut balance, i| -> Result<Balance> {
            let name = split.name(*i);
            let maps = read_maps(&context.file(maps, name))?;
            balance.add(&maps, &scores(name, &maps)?);
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

/// Writes the label of every image that `stage` has left maps of; `prepare` gets these, and the image's number.
fn from_maps(context: &Context, stage: Stage, prepare: impl Fn(Maps, usize) -> Result<Step> + Sync) -> Result<()> {
    let split = &context.data.train;
    let settings = &context.recipe.label;
    let crf = settings.crf.build();
    each(&context.device, split, &context.left_by(stage), STAGE.name(), |i| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    #[test]
    fn maps_that_are_high_everywhere_are_parted_where_they_part_themselves() {
        // As maps from related images: half of the image at 0.5, a quarter at 0.55, a quarter at 0.9.
        let value = |i: usize| [0.5, 0.55, 0.9, 0.5][i / 5];
        let maps = Maps {
            classes: vec![2],
            maps: Array3::from_shape_fn((1, 1, 20), |(_, _, x)| value(x)),
        };
        let scores = scored(&maps, 3.0);
        assert!(label(&scores, 0.0).iter().all(|v| *v == 2));
        let mut balance = Balance::default();
        balance.add(&maps, &scores);
        let label = label(&scaled(scores, balance.factor(0.1)), 0.0);
        let is_high = |x: usize| value(x) > 0.6;
        assert!(
            label
                .iter()
                .enumerate()
                .all(|(x, v)| *v == if is_high(x) { 2 } else { 0 })
        );
    }
}
