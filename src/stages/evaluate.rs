//! Comparing what stages wrote with the truth, where there is truth.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rayon::prelude::*;

use super::background::winners;
use super::predict;
use super::{Context, Stage};
use crate::data::Split;
use crate::data::decode::read_mask;
use crate::metrics::{Confusion, StageScore, ThresholdSweep};
use crate::run::files::read_maps;

/// Scores of all finished stages, in the pipeline's order, under the names of `metrics.json`: `cam` (at its
/// best threshold), `propagate`, `label`, `segment` (the network's own masks) and, where the recipe has a CRF on
/// predictions, `segment_crf`.
pub fn scores(context: &Context) -> Result<Vec<(String, StageScore)>> {
    let mut scores = Vec::new();
    let train = &context.data.train;
    if let Some((sweep, images)) = cams(context)?
        && let Some((threshold, confusion)) = sweep.best()
    {
        let mut score = score(context, &confusion, "train", images)?;
        score.threshold = Some(threshold);
        scores.push(("cam".to_string(), score));
    }
    let file = |stage: Stage, extension: &'static str| {
        move |name: &str| context.file(stage, name, extension)
    };
    let walked = file(Stage::Propagate, "npz");
    let propagated = compare(context, train, Stage::Propagate, walked, |path, _| {
        let maps = read_maps(path)?;
        let values: Vec<u8> = maps.classes.iter().map(|c| *c as u8).collect();
        Ok(winners(maps.maps.view(), &values).into_raw())
    })?;
    let classes = context.classes();
    let mask = |path: &std::path::Path, size: (u32, u32)| -> Result<Vec<u8>> {
        Ok(read_mask(path, classes, size)?.into_raw())
    };
    let labels = compare(
        context,
        train,
        Stage::Label,
        file(Stage::Label, "png"),
        mask,
    )?;
    let predicted = |file: &(dyn Fn(&str) -> PathBuf + Sync)| {
        compare(context, predict::split(context), Stage::Predict, file, mask)
    };
    let refined = predicted(&file(Stage::Predict, "png"))?;
    let (network, refined) = if context.recipe.predict.crf.build().is_some() {
        let network = predicted(&|name| predict::network_file(context, name))?;
        (network, refined)
    } else {
        (refined, None)
    };
    let val = if context.data.val.is_empty() || context.data.val_is_train {
        "train"
    } else {
        "val"
    };
    for (name, result, split) in [
        ("propagate", propagated, "train"),
        ("label", labels, "train"),
        ("segment", network, val),
        ("segment_crf", refined, val),
    ] {
        if let Some((confusion, images)) = result {
            scores.push((name.to_string(), score(context, &confusion, split, images)?));
        }
    }
    Ok(scores)
}

fn score(
    context: &Context,
    confusion: &Confusion,
    split: &str,
    images: usize,
) -> Result<StageScore> {
    StageScore::new(confusion, &context.data.classes, split, images)
}

/// Indices of a split's images that have both a mask and a `file`.
fn comparable(split: &Split, file: impl Fn(&str) -> PathBuf) -> Vec<usize> {
    split
        .indices()
        .filter(|&i| split.has_mask(i) && file(split.name(i)).exists())
        .collect()
}

fn compare(
    context: &Context,
    split: &Split,
    stage: Stage,
    file: impl Fn(&str) -> PathBuf + Sync,
    read: impl Fn(&std::path::Path, (u32, u32)) -> Result<Vec<u8>> + Sync,
) -> Result<Option<(Confusion, usize)>> {
    if !context.is_current(stage) {
        return Ok(None);
    }
    let images = comparable(split, &file);
    let empty = || Confusion::new(context.classes() + 1);
    let confusion = images
        .par_iter()
        .try_fold(empty, |mut confusion, &i| -> Result<Confusion> {
            if let Some(truth) = split.mask(i)? {
                let path = file(split.name(i));
                let prediction = read(&path, truth.dimensions())?;
                confusion
                    .add(&prediction, truth.as_raw())
                    .with_context(|| format!("{}", path.display()))?;
            }
            Ok(confusion)
        })
        .try_reduce(empty, |mut a, b| {
            a.merge(&b);
            Ok(a)
        })?;
    Ok((!images.is_empty()).then_some((confusion, images.len())))
}

/// The class activation maps' sweep over background thresholds, and the number of images in it.
pub fn cams(context: &Context) -> Result<Option<(ThresholdSweep, usize)>> {
    if !context.is_current(Stage::Cam) {
        return Ok(None);
    }
    let split = &context.data.train;
    let images = comparable(split, |name| context.file(Stage::Cam, name, "npz"));
    let empty = || ThresholdSweep::new(context.classes() + 1);
    let sweep = images
        .par_iter()
        .try_fold(empty, |mut sweep, &i| -> Result<ThresholdSweep> {
            if let Some(truth) = split.mask(i)? {
                let path = context.file(Stage::Cam, split.name(i), "npz");
                let maps = read_maps(&path)?;
                let values: Vec<u8> = maps.classes.iter().map(|c| *c as u8).collect();
                let winner = winners(maps.maps.view(), &values);
                let peak = maps
                    .maps
                    .fold_axis(ndarray::Axis(0), 0.0f32, |m, v| m.max(*v));
                let peak: Vec<f32> = peak.iter().copied().collect();
                sweep
                    .add(winner.as_raw(), &peak, truth.as_raw())
                    .with_context(|| format!("{}", path.display()))?;
            }
            Ok(sweep)
        })
        .try_reduce(empty, |mut a, b| {
            a.merge(&b);
            Ok(a)
        })?;
    Ok((!images.is_empty()).then_some((sweep, images.len())))
}
