//! A dense CRF in a recipe: a preset, and what differs from it.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::crf::{DenseCrf, ITERATIONS, Pairwise, Preset};

/// A preset and single overrides; what is absent is the preset's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crf {
    /// `default`, `inference` or `none`.
    pub preset: Preset,
    /// Longer side of the images that the deviations of positions are for, pixels: on others they are scaled with it,
    /// so that an object of half of an image has the same CRF at any resolution. `None` = pixels of whatever image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_side: Option<f32>,
    /// Updates of the mean field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u32>,
    /// Standard deviation of positions in the Gaussian potential, pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_sxy: Option<f32>,
    /// Weight of the Gaussian potential; 0 leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_compat: Option<f32>,
    /// Standard deviation of positions in the bilateral potential, pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bilateral_sxy: Option<f32>,
    /// Standard deviation of colours (0 to 255) in the bilateral potential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bilateral_srgb: Option<f32>,
    /// Weight of the bilateral potential; 0 leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bilateral_compat: Option<f32>,
}

impl Crf {
    /// The ends of the keys that may be absent.
    pub(crate) const OPTIONAL: [&'static str; 7] = [
        "crf.reference_side",
        "crf.iterations",
        "crf.gaussian_sxy",
        "crf.gaussian_compat",
        "crf.bilateral_sxy",
        "crf.bilateral_srgb",
        "crf.bilateral_compat",
    ];

    /// A preset as it is.
    pub fn preset(preset: Preset) -> Crf {
        Crf {
            preset,
            reference_side: None,
            iterations: None,
            gaussian_sxy: None,
            gaussian_compat: None,
            bilateral_sxy: None,
            bilateral_srgb: None,
            bilateral_compat: None,
        }
    }

    /// The CRF; `None` for the preset `none`.
    pub fn build(&self) -> Option<DenseCrf> {
        let [position, colour] = self.preset.potentials()?;
        let pairwise = [
            Pairwise::gaussian(
                self.gaussian_sxy.unwrap_or(position.0),
                self.gaussian_compat.unwrap_or(position.2),
            ),
            Pairwise::bilateral(
                self.bilateral_sxy.unwrap_or(colour.0),
                self.bilateral_srgb.unwrap_or(colour.1),
                self.bilateral_compat.unwrap_or(colour.2),
            ),
        ];
        Some(DenseCrf {
            pairwise: pairwise.into_iter().filter(|p| !p.is_without_effect()).collect(),
            iterations: self.iterations.map_or(ITERATIONS, |n| n as usize),
            reference_side: self.reference_side,
        })
    }

    /// Rejects values that no CRF can work with; `key` names the table.
    pub(crate) fn check(&self, key: &str) -> Result<()> {
        for (name, value) in [
            ("reference_side", self.reference_side),
            ("gaussian_sxy", self.gaussian_sxy),
            ("bilateral_sxy", self.bilateral_sxy),
            ("bilateral_srgb", self.bilateral_srgb),
        ] {
            let good = value.is_none_or(|v| v.is_finite() && v > 0.0);
            ensure!(
                good,
                "{key}.{name} is {}: use a positive number",
                value.unwrap_or_default()
            );
        }
        for (name, value) in [
            ("gaussian_compat", self.gaussian_compat),
            ("bilateral_compat", self.bilateral_compat),
        ] {
            let good = value.is_none_or(|v| v.is_finite() && v >= 0.0);
            ensure!(
                good,
                "{key}.{name} is {}: use 0 or a positive number",
                value.unwrap_or_default()
            );
        }
        Ok(())
    }
}
