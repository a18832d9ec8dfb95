//! Comparing what stages wrote with the truth, where there is truth.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rayon::prelude::*;

use crate::data::Split;
use crate::data::decode::read_mask;
use crate::maps::read_maps;
use crate::metrics::{Confusion, StageScore, ThresholdSweep};
use crate::models::heads::cross_affinity::MEAN_GAMMA;
use crate::pipeline::{Context, Product, Stage};
use crate::run::metrics_csv;
use crate::train;

/// In `metrics.json`: the masks that the network gives itself.
pub const NETWORK: &str = "segment";
/// In `metrics.json`: the same after the recipe's CRF on predictions.
pub const NETWORK_CRF: &str = "segment_crf";

/// What the finished stages are worth.
pub struct Scored {
    /// As [`scores`].
    pub scores: Vec<(String, StageScore)>,
    /// The sweep over background thresholds of the last class maps, where there is truth.
    pub sweep: Option<ThresholdSweep>,
}

/// Scores of all finished stages, in the pipeline's order, under the names of `metrics.json`: a stage's own name for
/// class maps (at their best threshold), scores and labels, [`NETWORK`] and, where the recipe has a CRF on predictions,
/// [`NETWORK_CRF`] for masks.
///
/// # Errors
/// Where a file cannot be read.
pub fn scores(context: &Context) -> Result<Vec<(String, StageScore)>> {
    Ok(scored(context)?.scores)
}

/// As [`scores`], with the sweep that those of class maps are from.
///
/// # Errors
/// As [`scores`].
pub(super) fn scored(context: &Context) -> Result<Scored> {
    let mut scores = Vec::new();
    let mut last_sweep = None;
    let classes = context.classes();
    let mask = |path: &Path, size: (u32, u32)| -> Result<Vec<u8>> { Ok(read_mask(path, classes, size)?.into_raw()) };
    let val = if context.data.val.is_empty() || context.data.val_is_train {
        "train"
    } else {
        "val"
    };
    for stage in context.pipeline.iter().copied() {
        let file = |name: &str| context.file(stage, name);
        let mut add = |name: &str, split: &str, result: Option<(Confusion, usize)>| -> Result<()> {
            if let Some((confusion, images)) = result {
                scores.push((name.to_string(), score(context, &confusion, split, images)?));
            }
            Ok(())
        };
        match stage.product() {
            Product::Network(_) => {}
            Product::ClassMaps => {
                let Some((sweep, images)) = sweep(context, stage)? else {
                    continue;
                };
                if let Some((threshold, confusion)) = sweep.best() {
                    let mut score = score(context, &confusion, "train", images)?;
                    score.threshold = Some(threshold);
                    scores.push((stage.name().to_string(), score));
                }
                last_sweep = Some(sweep);
            }
            Product::Scores => {
                let winners = |path: &Path, _| Ok(read_maps(path)?.winners().into_raw());
                let result = compare(context, &context.data.train, stage, file, winners)?;
                add(stage.name(), "train", result)?;
            }
            Product::Labels => {
                let result = compare(context, &context.data.train, stage, file, mask)?;
                add(stage.name(), "train", result)?;
            }
            Product::Masks => {
                let split = context.predicted_split();
                let masks = compare(context, split, stage, file, mask)?;
                if context.recipe.predict.crf.build().is_some() {
                    let file = |name: &str| context.network_mask(stage, name);
                    add(NETWORK, val, compare(context, split, stage, file, mask)?)?;
                    add(NETWORK_CRF, val, masks)?;
                } else {
                    add(NETWORK, val, masks)?;
                }
            }
        }
    }
    Ok(Scored {
        scores,
        sweep: last_sweep,
    })
}

/// The mean |gamma| of the messages in the last network that has any (CIAN), at its last step: how much of what other
/// pixels send is added to the features. `None` where there is no such network.
///
/// # Errors
/// Where its `metrics.csv` cannot be read.
pub fn mean_gamma(context: &Context) -> Result<Option<f64>> {
    let trained = context.pipeline.iter().rev().filter(|stage| stage.trains().is_some());
    for stage in trained.filter(|stage| context.is_current(**stage)) {
        let path = context.folder(*stage).join(train::METRICS);
        if let Some(gamma) = metrics_csv::last(&path, MEAN_GAMMA)? {
            return Ok(Some(gamma));
        }
    }
    Ok(None)
}

fn score(context: &Context, confusion: &Confusion, split: &str, images: usize) -> Result<StageScore> {
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
    read: impl Fn(&Path, (u32, u32)) -> Result<Vec<u8>> + Sync,
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

/// The sweep over background thresholds of the class maps that `stage` has left, and the number of images in it; `None`
/// where it has not finished or there is no truth.
///
/// # Errors
/// Where a file cannot be read.
fn sweep(context: &Context, stage: Stage) -> Result<Option<(ThresholdSweep, usize)>> {
    if !context.is_current(stage) {
        return Ok(None);
    }
    let split = &context.data.train;
    let images = comparable(split, |name| context.file(stage, name));
    let empty = || ThresholdSweep::new(context.classes() + 1);
    let sweep = images
        .par_iter()
        .try_fold(empty, |mut sweep, &i| -> Result<ThresholdSweep> {
            if let Some(truth) = split.mask(i)? {
                let path = context.file(stage, split.name(i));
                let maps = read_maps(&path)?;
                let winner = maps.winners();
                let peak: Vec<f32> = maps.peaks().iter().copied().collect();
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
