//! Hyper-parameters of the methods that look at several images at once: CIAN and MCIS.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Backbone, Crf, Training};
use crate::data::Relation;
use crate::models::heads::cross_affinity::Merge;

/// Labels of the pixels that class activation maps are sure of, by thresholds (CIAN, "Initial Seeds").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// Least score of a class's pixels, in [0, 1].
    pub foreground: f32,
    /// Without a saliency map, background is where (1 - best score)^alpha is above every score (AffinityNet Eq. 2).
    pub alpha: f32,
    /// With a saliency map, background is where it is below this, in [0, 1].
    pub background: f32,
    /// Folder with a greyscale PNG per training image, `NAME.png`, bright where objects are; `None` = there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saliency: Option<PathBuf>,
}

/// CIAN: the segmentation network with messages between related images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cian {
    /// Its network's, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<Backbone>,
    /// What makes images partners (Table 3).
    pub pairs: Relation,
    /// Related images per image; 0 = every image by itself, the paper's baseline.
    pub references: usize,
    /// How messages become one (Eq. 5).
    pub merge: Merge,
    /// Factor on the completion losses (Eq. 8); 0 = off.
    pub completion: f32,
    /// Share of the steps that pass before the completion losses join, in [0, 1].
    pub completion_after: f32,
    /// Trainings, each but the first on the CRF-refined predictions of the one before.
    pub rounds: usize,
    /// Share of the training images whose seeds are replaced by their masks, in [0, 1] (Table 4).
    pub truth: f32,
    /// Refines the predictions that further rounds learn from.
    pub crf: Crf,
    /// How each round is trained. A batch is of images, references included.
    pub training: Training,
}

/// MCIS: the classifier with co-attention and contrastive co-attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mcis {
    /// Its network's, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<Backbone>,
    /// What classifies co-attentive and exclusive features.
    pub classifier: Classifier,
    /// Divides the affinities (Eq. 2) before softmax; 1 in the paper.
    pub temperature: f32,
    /// Factor on the loss of shared classes (Eq. 5); 0 = off.
    pub common: f32,
    /// Factor on the loss of unshared classes (Eq. 9); 0 = off.
    pub contrastive: f32,
    /// Share of the steps that pass before the loss of unshared classes joins, in [0, 1].
    pub contrastive_after: f32,
    /// Related images per class that a localization map is made with (Sec. 3.2); 0 = from the image alone.
    pub related: usize,
    /// Which features the localization maps with related images are of.
    pub maps: LocalizationMaps,
    /// How it is trained. A batch is of images, two a pair.
    pub training: Training,
}

/// What classifies co-attentive and exclusive features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classifier {
    /// The image's own classifier: the paper.
    Shared,
    /// One of their own: the released code.
    Separate,
}

/// MCIS Table 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalizationMaps {
    /// Co-attentive features.
    Common,
    /// The mean of co-attentive and contrastive co-attentive ones.
    Both,
}

fn range(key: &str, value: f32, low: f32, high: f32) -> Result<()> {
    ensure!(
        (low..=high).contains(&value),
        "{key} is {value}: use a number from {low} to {high}"
    );
    Ok(())
}

impl Seeds {
    /// Rejects values that no map can be above or below of.
    pub(super) fn check(&self) -> Result<()> {
        range("seeds.foreground", self.foreground, 0.0, 1.0)?;
        range("seeds.alpha", self.alpha, f32::MIN_POSITIVE, 1e6)?;
        range("seeds.background", self.background, 0.0, 1.0)
    }
}

impl Cian {
    /// Rejects values that the training cannot work with.
    pub(super) fn check(&self) -> Result<()> {
        range("cian.completion", self.completion, 0.0, f32::MAX)?;
        range("cian.completion_after", self.completion_after, 0.0, 1.0)?;
        range("cian.truth", self.truth, 0.0, 1.0)?;
        ensure!(
            self.references < self.training.batch.max(1),
            "cian.references is {} in batches of {} images: raise cian.training.batch",
            self.references,
            self.training.batch
        );
        ensure!(
            (1..=99).contains(&self.rounds),
            "cian.rounds is {}: use 1 to 99",
            self.rounds
        );
        self.crf.check("cian.crf")?;
        self.training.check("cian.training")
    }
}

impl Mcis {
    /// Rejects values that the training cannot work with.
    pub(super) fn check(&self) -> Result<()> {
        range("mcis.temperature", self.temperature, 1e-6, 1e6)?;
        range("mcis.common", self.common, 0.0, f32::MAX)?;
        range("mcis.contrastive", self.contrastive, 0.0, f32::MAX)?;
        range("mcis.contrastive_after", self.contrastive_after, 0.0, 1.0)?;
        ensure!(
            self.training.batch >= 2,
            "mcis.training.batch is {}: use at least 2, a pair",
            self.training.batch
        );
        self.training.check("mcis.training")
    }
}
