//! Hyper-parameters of the segmentation network with messages between related images: `[cian]`.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::backbones::BackboneSettings;
use super::crf::Crf;
use super::queries::Queries;
use super::range::range;
use super::training::Training;
use crate::data::Relation;
use crate::models::heads::cross_affinity::Merge;

/// CIAN: the segmentation network with messages between related images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cross {
    /// Its network's, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSettings>,
    /// What makes images partners (Table 3).
    pub pairs: Relation,
    /// Which images are drawn. Balanced where absent; `once`: every image is in one group an epoch, and a query of
    /// everybody else there.
    #[serde(default, skip_serializing_if = "Queries::is_balanced")]
    pub queries: Queries,
    /// Related images per image; 0 = every image by itself, the paper's baseline.
    pub references: usize,
    /// How messages become one (Eq. 5).
    pub merge: Merge,
    /// Factor on the completion losses (Eq. 8); 0 = off.
    pub completion: f32,
    /// Share of the steps that pass before the completion losses join, in [0, 1].
    pub completion_after: f32,
    /// Which classes the completion losses label. The image's tags where absent.
    #[serde(default, skip_serializing_if = "CompletionClasses::is_tags")]
    pub completion_classes: CompletionClasses,
    /// Trainings, each but the first on the CRF-refined predictions of the one before.
    pub rounds: usize,
    /// What a further round starts from and learns. Afresh where absent.
    #[serde(default, skip_serializing_if = "Retraining::is_afresh")]
    pub retrain: Retraining,
    /// Share of the training images whose seeds are replaced by their masks, in [0, 1] (Table 4).
    pub truth: f32,
    /// Refines the predictions that further rounds learn from.
    pub crf: Crf,
    /// How each round is trained. A batch is of images, references included.
    pub training: Training,
}

/// The classes of an image that its completed labels may have, beside the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompletionClasses {
    /// Its tags (Eq. 7).
    #[default]
    Tags,
    /// Those in the seeds of its crop, background included: the released code.
    Seeds,
}

impl CompletionClasses {
    fn is_tags(&self) -> bool {
        *self == CompletionClasses::Tags
    }
}

/// A round that learns from the predictions of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retraining {
    /// Starts as the first round did; an image's predictions have no other classes than its tags.
    #[default]
    Afresh,
    /// Goes on from the network of the round before; predictions may have any class: the released code.
    Released,
}

impl Retraining {
    fn is_afresh(&self) -> bool {
        *self == Retraining::Afresh
    }
}

impl Cross {
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
