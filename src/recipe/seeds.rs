//! Hyper-parameters of labels by thresholds: `[seeds]`.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::range::range;
use crate::maps::SeedThresholds;

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

impl Seeds {
    /// What pixels are told apart by.
    pub fn thresholds(&self) -> SeedThresholds {
        SeedThresholds {
            foreground: self.foreground,
            alpha: self.alpha,
            background: self.background,
        }
    }

    /// Rejects values that no map can be above or below of.
    pub(super) fn check(&self) -> Result<()> {
        range("seeds.foreground", self.foreground, 0.0, 1.0)?;
        range("seeds.alpha", self.alpha, f32::MIN_POSITIVE, 1e6)?;
        range("seeds.background", self.background, 0.0, 1.0)
    }
}
