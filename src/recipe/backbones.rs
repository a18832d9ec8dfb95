//! Backbones in a recipe: which, and where their weights come from.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::models::backbones::{self, NAMES};

/// A backbone and where its weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneSettings {
    /// One of [`crate::models::backbones::NAMES`].
    pub name: String,
    /// Divides every channel count; 1 = full width.
    #[serde(default = "full_width")]
    pub width_divisor: usize,
    /// Pixels of the image per pixel of the last level, where the backbone leaves a choice; `None` = as it usually has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_stride: Option<usize>,
    /// Pretrained weights: a file, or the name of published ones (`weakseg weights list`); `None` trains from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

fn full_width() -> usize {
    1
}

/// The sections of a recipe that may have a backbone of their own, called by the stage that trains the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `[cam]`: the classifier, which class activation maps are of.
    Classify,
    /// `[affinity]`: AffinityNet.
    Affinity,
    /// `[joint]`: RRM's and AALR's network.
    Joint,
    /// `[cian]`: the network with messages between related images.
    Cross,
    /// `[mcis]`: the classifier with co-attention.
    Coattend,
    /// `[segment]`: the segmentation network.
    Segment,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 6] = [
        Part::Classify,
        Part::Affinity,
        Part::Joint,
        Part::Cross,
        Part::Coattend,
        Part::Segment,
    ];

    /// Its section's name.
    pub fn section(self) -> &'static str {
        match self {
            Part::Classify => "cam",
            Part::Affinity => "affinity",
            Part::Joint => "joint",
            Part::Cross => "cian",
            Part::Coattend => "mcis",
            Part::Segment => "segment",
        }
    }

    /// The section of how its network is trained, as in `--set KEY.batch=4`.
    pub fn training_section(self) -> &'static str {
        match self {
            Part::Classify => "classify",
            Part::Affinity => "affinity.training",
            Part::Joint => "joint.training",
            Part::Cross => "cian.training",
            Part::Coattend => "mcis.training",
            Part::Segment => "segment",
        }
    }

    /// Where a backbone may stand, for people.
    pub(super) fn sections() -> String {
        let names = Part::ALL.map(|part| format!("[{}.backbone]", part.section()));
        match names.split_last() {
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

impl BackboneSettings {
    /// The backbone that the program knows by this name, at its width and output stride.
    ///
    /// # Errors
    /// Where there is none such.
    pub fn build(&self) -> Result<backbones::Backbone> {
        backbones::Backbone::named(&self.name, self.width_divisor)?.with_output_stride(self.output_stride)
    }

    /// Whether a network with this backbone may start from one with `other`.
    pub fn is_like(&self, other: &BackboneSettings) -> bool {
        // Dilated or not, the kernels are the same.
        self.name == other.name && self.width_divisor == other.width_divisor
    }

    /// Puts something where nothing is.
    pub(super) fn fill_in(&mut self, weights: PathBuf) {
        self.output_stride.get_or_insert(8);
        self.weights.get_or_insert(weights);
    }

    /// Rejects what no network has; `key` is where this stands in the recipe.
    pub(super) fn check(&self, key: &str) -> Result<()> {
        ensure!(
            NAMES.contains(&self.name.as_str()),
            "{key}.name is \"{}\": use one of {}",
            self.name,
            NAMES.join(", ")
        );
        let width = self.width_divisor;
        ensure!(width >= 1, "{key}.width_divisor is {width}: use at least 1");
        self.build().map(|_| ()).with_context(|| key.to_owned())
    }
}
