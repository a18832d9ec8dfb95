//! Hyper-parameters of the joint network of RRM and AALR.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::backbones::BackboneSettings;
use super::crf::Crf;
use super::training::Training;
use crate::losses::adaptive_affinity::PairWeight;

/// Classification and segmentation in one network: reliable labels and the losses on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joint {
    /// Its network's, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSettings>,
    /// Which pixels are labelled.
    pub rule: Rule,
    /// Share of each class's pixels that may be labelled, in (0, 1].
    pub share: f32,
    /// Background exponent (RRM Eq. 4) of the scores, and of the CRF that names foreground.
    pub alpha_low: f32,
    /// Background exponent of the CRF that names background; only in the released rule.
    pub alpha_high: f32,
    /// Image sizes whose class activation maps are averaged in every step; 1 = the crop's own.
    pub scales: Vec<f32>,
    /// Classes of lower probability by the classifier are not labelled in a crop, in [0, 1); 0 = all tags are.
    pub min_class_probability: f32,
    /// Refines the scores that reliable labels come from and, in two steps, the predictions that the second network
    /// learns from.
    pub crf: Crf,
    /// RRM's dense energy loss.
    pub energy: Energy,
    /// AALR's affinity loss.
    pub affinity: PairLoss,
    /// AALR's label reassign loss.
    pub reassign: Reassign,
    /// How the network is trained.
    pub training: Training,
}

/// How reliable pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// RRM Eq. 6–7: the best share of each class where maps and CRF agree.
    Paper,
    /// The released code's thresholds.
    Released,
    /// The best share by the maps alone (RRM Table 2, "CAM").
    Cam,
}

/// RRM Eq. 10–14.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// Factor on the loss, whose kernel is not normalised; 0 = off.
    pub weight: f32,
    /// Share of the steps before it joins, in [0, 1].
    pub after: f32,
    /// Standard deviation of the kernel over colours, of 255.
    pub sigma_rgb: f32,
    /// Standard deviation of the kernel over positions, pixels of the crop.
    pub sigma_xy: f32,
}

/// AALR Eq. 1–12.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairLoss {
    /// Factor on the loss; 0 = off.
    pub weight: f32,
    /// Share of the steps before it joins, in [0, 1].
    pub after: f32,
    /// How the confidence of two pixels becomes their pair's.
    pub pair: PairWeight,
    /// Dilations of the 3x3 kernels, feature pixels; [`Self::kernels`] has those that are used.
    pub dilations: Vec<usize>,
    /// Whether all of them are used, one less or one more (Table 2). All where absent.
    #[serde(default, skip_serializing_if = "Reach::is_usual")]
    pub reach: Reach,
    /// Divergence that different labels are pushed to.
    pub margin: f32,
}

/// AALR Table 2, relative to a recipe's dilations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// The dilations as they are: 4-8-12-24 in the paper.
    #[default]
    Usual,
    /// Without the last: 4-8-12.
    Nearer,
    /// With one more, half as large again as the last: 4-8-12-24-36.
    Further,
}

impl Reach {
    fn is_usual(&self) -> bool {
        *self == Reach::Usual
    }
}

impl PairLoss {
    /// The dilations of the kernels in use, feature pixels.
    pub fn kernels(&self) -> Vec<usize> {
        let mut kernels = self.dilations.clone();
        match self.reach {
            Reach::Usual => {}
            Reach::Nearer => kernels.truncate(kernels.len().saturating_sub(1)),
            Reach::Further => kernels.extend(self.dilations.last().map(|last| last + last.div_ceil(2))),
        }
        kernels
    }
}

/// AALR Eq. 13–17.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reassign {
    /// Factor on the loss; 0 = off.
    pub weight: f32,
    /// Least difference of the similarities with the nearest centroid and another.
    pub margin: f32,
    /// Exponent of the focal weight.
    pub gamma: f32,
    /// Passes over the images at the end of the training that have this loss.
    pub epochs: f32,
}

impl Joint {
    /// Rejects values that the training cannot work with.
    pub(super) fn check(&self) -> Result<()> {
        for (key, value, low, high) in [
            ("share", self.share, f32::MIN_POSITIVE, 1.0),
            ("alpha_low", self.alpha_low, f32::MIN_POSITIVE, 1e6),
            ("alpha_high", self.alpha_high, self.alpha_low, 1e6),
            ("min_class_probability", self.min_class_probability, 0.0, 1.0),
            ("energy.weight", self.energy.weight, 0.0, f32::MAX),
            ("energy.sigma_rgb", self.energy.sigma_rgb, 0.1, 1e6),
            ("energy.sigma_xy", self.energy.sigma_xy, 0.1, 1e6),
            ("affinity.weight", self.affinity.weight, 0.0, f32::MAX),
            ("affinity.margin", self.affinity.margin, 0.0, f32::MAX),
            ("reassign.weight", self.reassign.weight, 0.0, f32::MAX),
            ("reassign.margin", self.reassign.margin, 0.0, f32::MAX),
            ("reassign.gamma", self.reassign.gamma, 0.0, 100.0),
            ("energy.after", self.energy.after, 0.0, 1.0),
            ("affinity.after", self.affinity.after, 0.0, 1.0),
            ("reassign.epochs", self.reassign.epochs, 0.0, f32::MAX),
        ] {
            ensure!(
                (low..=high).contains(&value),
                "joint.{key} is {value}: use a number from {low} to {high}"
            );
        }
        let scales = &self.scales;
        ensure!(
            !scales.is_empty() && scales.iter().all(|s| (0.05..=10.0).contains(s)),
            "joint.scales is {scales:?}: use at least one number, each of 0.05 to 10"
        );
        let dilations = &self.affinity.dilations;
        ensure!(
            !dilations.is_empty() && !dilations.contains(&0),
            "joint.affinity.dilations is {dilations:?}: use at least one number, each of 1 or more"
        );
        ensure!(
            self.affinity.reach != Reach::Nearer || dilations.len() > 1,
            "joint.affinity.reach is nearer, which leaves out the last of joint.affinity.dilations, and {dilations:?} has no other: use usual, or more dilations"
        );
        self.training.check("joint.training")
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::Recipe;

    #[test]
    fn sets_of_dilations_are_relative_to_the_recipes() {
        for (recipe, usual, further) in [
            ("aalr-resnet38", vec![4, 8, 12, 24], 36),
            ("nano", vec![2, 4, 6], 9),
            ("photos", vec![3, 5, 8, 16], 24),
        ] {
            let kernels = |reach: &str| {
                let set = format!("joint.affinity.reach={reach}");
                let recipe = Recipe::load(recipe, &[set]).unwrap();
                recipe.joint.affinity.kernels()
            };
            assert_eq!(kernels("usual"), usual);
            assert_eq!(kernels("nearer"), usual[..usual.len() - 1]);
            assert_eq!(kernels("further"), [&usual[..], &[further]].concat());
        }
    }
}
