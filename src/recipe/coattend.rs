//! Hyper-parameters of the classifier with co-attention: `[mcis]`.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::backbones::BackboneSettings;
use super::queries::Queries;
use super::range::range;
use super::training::Training;

/// MCIS: the classifier with co-attention and contrastive co-attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coattend {
    /// Its network's, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSettings>,
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
    /// Whether an image that has no unshared class trains that output too, towards none, as Eq. 9 has it. Off where
    /// absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_sets: bool,
    /// Which images are drawn. Balanced where absent; `once`: every image is the first of a pair once in as many pairs as
    /// there are images.
    #[serde(default, skip_serializing_if = "Queries::is_balanced")]
    pub queries: Queries,
    /// Whether the first image of every pair is paired with itself mirrored, at 0.75 and at 2 times the size too, all of
    /// whose classes are shared, as in the released code. Off where absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_pairs: bool,
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

/// MCIS Table 2, and the released code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalizationMaps {
    /// Co-attentive features.
    Common,
    /// The mean of co-attentive and contrastive co-attentive ones.
    Both,
    /// Co-attentive features of the image with itself mirrored, reduced and enlarged, and those with related images: five
    /// maps, each over its maximum, averaged (released `scripts/test.py`).
    Released,
}

impl Coattend {
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
