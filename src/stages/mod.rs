//! The stages that methods are composed of. Each reads the run directory's files of the stages before it, writes its
//! own, and can be run alone, looked at, replaced and resumed.

pub mod affinity;
pub mod affinity_labels;
pub mod background;
pub mod classify;
pub mod coattend;
pub mod cost;
pub mod cross;
pub mod evaluate;
pub mod inference;
pub mod joint;
pub mod label;
pub mod localize;
pub mod predict;
pub mod propagate;
pub mod refine;
pub mod reliable;
pub mod seeds;
pub mod segment;
pub mod summary;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use burn::tensor::Device;

use crate::data::Data;
use crate::device::fault::{self, Fault};
use crate::models::{Head, Network};
use crate::progress;
use crate::recipe::{NetworkInput, Part, Recipe};
use crate::run::RunDir;
use crate::weights::fetch;
use cost::Load;

/// What every stage works with.
pub struct Context {
    /// Hyper-parameters.
    pub recipe: Recipe,
    /// Images, tags, and masks where there are any.
    pub data: Data,
    /// Where files go.
    pub run: RunDir,
    /// Where to compute, without autodiff.
    pub device: Device,
    /// The method's stages.
    pub pipeline: &'static [Stage],
    /// What `--seed` said.
    pub seed: u64,
    /// Whether the segmentation network learns from the data set's own masks.
    pub supervised: bool,
    /// Which losses a joint network learns from.
    pub objective: joint::Objective,
    /// A line that names the device, for the report.
    pub device_line: String,
}

/// A stage by name, in the pipeline's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Train the classifier on the tags.
    Classify,
    /// Train the classifier with co-attention, on pairs of images.
    Coattend,
    /// Class activation maps of the training images.
    Cam,
    /// Train AffinityNet on labels that the maps are sure of.
    Affinity,
    /// Spread the maps by random walk.
    Propagate,
    /// Train classification and segmentation in one network on labels that it finds itself.
    Joint,
    /// Train the segmentation network with messages between related images.
    Cross,
    /// Label maps from the spread maps.
    Label,
    /// Train the segmentation network on the labels.
    Segment,
    /// Predict the validation images.
    Predict,
}

impl Stage {
    /// The stage of a pipeline that trains the network which predicts, and that network's head for `classes`.
    pub fn segmenter(pipeline: &[Stage], classes: usize) -> (Stage, Head) {
        if pipeline.contains(&Stage::Segment) {
            (Stage::Segment, Head::Segmentation { classes })
        } else if pipeline.contains(&Stage::Cross) {
            (Stage::Cross, Head::CrossAffinity { classes })
        } else {
            (Stage::Joint, Head::Joint { classes })
        }
    }

    /// The stage's name in commands and `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Classify => "classify",
            Stage::Coattend => "coattend",
            Stage::Cam => "cam",
            Stage::Affinity => "affinity",
            Stage::Propagate => "propagate",
            Stage::Joint => "joint",
            Stage::Cross => "cross",
            Stage::Label => "label",
            Stage::Segment => "segment",
            Stage::Predict => "predict",
        }
    }

    /// The stage called `name`.
    pub fn named(name: &str) -> Option<Stage> {
        let all = [
            Stage::Classify,
            Stage::Coattend,
            Stage::Cam,
            Stage::Affinity,
            Stage::Propagate,
            Stage::Joint,
            Stage::Cross,
            Stage::Label,
            Stage::Segment,
            Stage::Predict,
        ];
        all.into_iter().find(|stage| stage.name() == name)
    }

    /// The part of a recipe whose network it trains, where it trains one.
    fn trains(self) -> Option<Part> {
        match self {
            Stage::Classify => Some(Part::Cam),
            Stage::Coattend => Some(Part::Mcis),
            Stage::Affinity => Some(Part::Affinity),
            Stage::Joint => Some(Part::Joint),
            Stage::Cross => Some(Part::Cian),
            Stage::Segment => Some(Part::Segment),
            Stage::Cam | Stage::Propagate | Stage::Label | Stage::Predict => None,
        }
    }

    fn work(self, context: &Context) -> Result<()> {
        match self {
            Stage::Classify => classify::train(context),
            Stage::Coattend => coattend::train(context),
            Stage::Cam => localize::write(context),
            Stage::Affinity => affinity::train(context),
            Stage::Propagate => propagate::write(context),
            Stage::Joint => joint::train(context),
            Stage::Cross => cross::train(context),
            Stage::Label => label::write(context),
            Stage::Segment if context.supervised => segment::train_supervised(context),
            Stage::Segment => segment::train(context),
            Stage::Predict => predict::write(context),
        }
    }
}

impl Context {
    /// Runs `stage` of `pipeline` unless it is finished; `again` repeats a finished one, which makes the later ones
    /// stale. The stages before it must be finished.
    ///
    /// # Errors
    /// Whatever keeps the stage from finishing; what it has written stays, and the next call goes on from there.
    pub fn stage(&self, pipeline: &[Stage], stage: Stage, again: bool) -> Result<()> {
        ensure!(
            pipeline.contains(&stage),
            "this run's method has no stage {}",
            stage.name()
        );
        let prints = self.fingerprints(pipeline, stage, again);
        for (earlier, print) in pipeline
            .iter()
            .zip(&prints)
            .take_while(|(s, _)| **s != stage)
        {
            if !self.run.stage_done(earlier.name(), print) {
                bail!(
                    "{} needs the stage {} to be finished in {}: run `weakseg {}` or `weakseg run` with this --out first",
                    stage.name(),
                    earlier.name(),
                    self.run.path().display(),
                    earlier.name()
                );
            }
        }
        let print = prints.last().map_or("", String::as_str);
        if self.run.stage_done(stage.name(), print) {
            log::info!("{}: finished before, kept", stage.name());
            return Ok(());
        }
        log::info!("{}", stage.name());
        let clock = Instant::now();
        self.run.begin_stage(stage.name(), print)?;
        progress::part(stage.name(), cost::of(stage, &self.recipe, self.load()?));
        fault::caught(|| stage.work(self))
            .with_context(|| format!("stage {}", stage.name()))
            .map_err(|error| advise(error, self.run.path()))?;
        progress::part_done();
        self.run
            .finish_stage(stage.name(), clock.elapsed().as_secs_f64())
    }

    /// Whether `stage` is finished, and with what the stages before it hold now.
    pub fn is_current(&self, stage: Stage) -> bool {
        let prints = self.fingerprints(self.pipeline, stage, false);
        self.pipeline.contains(&stage)
            && self
                .pipeline
                .iter()
                .zip(&prints)
                .all(|(s, print)| self.run.stage_done(s.name(), print))
    }

    /// For `stage` and those before it, a text that changes whenever a stage has been repeated.
    fn fingerprints(&self, pipeline: &[Stage], stage: Stage, again: bool) -> Vec<String> {
        let records = self.run.stages();
        let mut prints: Vec<String> = Vec::new();
        for s in pipeline {
            let before = prints.last().cloned().unwrap_or_default();
            let repeats = records
                .iter()
                .find(|r| r.name == s.name())
                .and_then(|r| {
                    r.fingerprint
                        .strip_prefix(&before)?
                        .strip_prefix('.')?
                        .parse()
                        .ok()
                })
                .unwrap_or(0u32);
            let repeats = repeats + u32::from(again && *s == stage);
            prints.push(format!("{before}.{repeats}"));
            if *s == stage {
                break;
            }
        }
        prints
    }

    /// A stage's folder.
    pub fn folder(&self, stage: Stage) -> PathBuf {
        self.run.folder(stage.name())
    }

    /// The file of one image in a stage's folder.
    pub fn file(&self, stage: Stage, image: &str, extension: &str) -> PathBuf {
        self.folder(stage).join(format!("{image}.{extension}"))
    }

    /// The network with `head` on the backbone that the recipe has for it.
    pub fn network(&self, head: Head) -> Result<Network> {
        network(&self.recipe, head)
    }

    /// What there is to work on.
    ///
    /// # Errors
    /// As [`Self::input`].
    pub fn load(&self) -> Result<Load> {
        let classifier = self.recipe.backbone(Part::Cam);
        let input = self.recipe.network_input(&classifier.name)?;
        Ok(Load::of(&self.data.train, &input))
    }

    /// Fetches the published weights that the recipe names for the networks that are still to be trained.
    ///
    /// # Errors
    /// Where they cannot be had; one line with the remedy.
    pub fn fetch_weights(&self) -> Result<()> {
        for stage in self.pipeline {
            let Some(part) = stage.trains().filter(|_| !self.is_current(*stage)) else {
                continue;
            };
            if let Some(weights) = &self.recipe.backbone(part).weights {
                fetch::file(weights)?;
            }
        }
        Ok(())
    }

    /// How images go into `network`.
    ///
    /// # Errors
    /// Where no weights of its backbone are known, which no checked recipe has.
    pub fn input(&self, network: &Network) -> Result<NetworkInput> {
        self.recipe.network_input(network.backbone.kind())
    }

    /// Number of classes, without background.
    pub fn classes(&self) -> usize {
        self.data.classes.len()
    }
}

/// The network with `head` on the backbone that the recipe has for it.
///
/// # Errors
/// Where there is no such backbone, or not of this width and output stride.
pub fn network(recipe: &Recipe, head: Head) -> Result<Network> {
    Ok(Network {
        backbone: recipe.backbone(Part::of(head)).build()?,
        head,
    })
}

/// What to do about a stage that a fault of the device has ended.
fn advise(error: anyhow::Error, run: &Path) -> anyhow::Error {
    let run = run.display();
    match Fault::in_error(&error) {
        Some(Fault::Lost) => error.context(format!(
            "the device was lost: run the same command again to go on from what {run} holds, with --device cpu if it happens again"
        )),
        Some(Fault::Full) => error.context(format!(
            "the device is out of memory: run the same command again with --device cpu to go on from what {run} holds, or start another run with a smaller batch or crop (--set)"
        )),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn faults_of_the_device_come_with_a_way_to_go_on() {
        let said = |what: &str| {
            let error = anyhow!("{what}").context("stage classify");
            format!("{:#}", advise(error, Path::new("runs/x")))
        };
        let lost = said("The device is poisoned");
        assert!(lost.starts_with("the device was lost: "), "{lost}");
        assert!(lost.contains("same command again") && lost.contains("runs/x"));
        assert!(lost.ends_with("stage classify: The device is poisoned"));
        let full = said("wgpu error: Out of Memory");
        assert!(full.contains("smaller batch") && full.contains("runs/x"));
        assert_eq!(said("no such file"), "stage classify: no such file");
    }
}
