//! Recipes: every hyper-parameter of a method at one scale, from `assets/recipes/*.toml` or the user's own file.

mod backbones;
mod check;
mod coattend;
mod crf;
mod cross;
mod joint;
mod load;
mod networks;
mod overrides;
mod queries;
mod range;
mod seeds;
mod segment_head;
mod table;
mod training;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::data::{Scaling, ShapesOptions};
use crate::kernels::Distance;
use crate::weights::keys::{self, Order};

pub use backbones::{BackboneSettings, Part};
pub use coattend::{Classifier, Coattend, LocalizationMaps};
pub use crf::Crf;
pub use cross::{CompletionClasses, Cross, Retraining};
pub use joint::{Energy, Joint, PairLoss, Reach, Reassign, Rule};
pub use queries::Queries;
pub use seeds::Seeds;
pub use segment_head::SegmentHead;
pub use training::{AugmentSettings, Optimizer, Training};

/// Hyper-parameters of all methods, stage by stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it needs, one line for people: weights, memory, a device.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub needs: String,
    /// The network of all stages whose section has none of its own.
    pub backbone: BackboneSettings,
    /// Images on their way into it.
    pub input: Input,
    /// Training of the CAM classifier.
    pub classify: Training,
    /// Localisation by class activation maps.
    pub cam: Cam,
    /// Affinity labels and the training of AffinityNet.
    pub affinity: AffinityTraining,
    /// The random walk.
    pub propagate: Propagate,
    /// Pseudo-labels.
    pub label: Label,
    /// The joint network of RRM and AALR.
    pub joint: Joint,
    /// Confident pixels by thresholds.
    pub seeds: Seeds,
    /// `[cian]`: the segmentation network with messages between related images.
    #[serde(rename = "cian")]
    pub cross: Cross,
    /// `[mcis]`: the classifier with co-attention.
    #[serde(rename = "mcis")]
    pub coattend: Coattend,
    /// The segmentation network and its training.
    pub segment: Training,
    /// Inference of the segmentation network.
    pub predict: Predict,
    /// Size of the built-in data set.
    pub shapes: ShapesOptions,
}

/// Images on their way into the network. What is absent belongs to the network, and is that of its weights
/// (`assets/weights/`); see [`keys::Input`] for what the network sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Images whose longer side exceeds this many pixels are scaled down to it, in training and after; 0 = no limit.
    pub max_side: u32,
    /// Order of the channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// What a full pixel becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<f32>,
    /// Per channel in `order`, in units of `range`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Per channel in `order`, in units of `range`; positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
}

/// How images go into a recipe's network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkInput {
    /// As [`Input::max_side`].
    pub max_side: u32,
    /// What the network sees of a pixel.
    pub scaling: Scaling,
}

/// Class activation maps (Eq. 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cam {
    /// That of the classifier, whose maps these are, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSettings>,
    /// Image sizes whose maps are summed; 1 = the image's own.
    pub scales: Vec<f32>,
    /// Adds the mirrored image at each scale.
    pub flip: bool,
    /// Images of one shape per forward pass.
    pub batch: usize,
    /// Takes the square root of the maps of each size and flip before they are summed, as the released VGG16 variant
    /// does.
    pub square_root: bool,
}

/// Affinity labels and AffinityNet (Sec. 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffinityTraining {
    /// AffinityNet's, in place of the recipe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSettings>,
    /// Background exponent (Eq. 2) under which a pixel of a class is confident foreground.
    pub alpha_low: f32,
    /// Background exponent under which a pixel of the background is confident background.
    pub alpha_high: f32,
    /// Least CAM score of confident foreground, in [0, 1]; 0 leaves it to the exponent, as in the paper.
    pub min_foreground: f32,
    /// Pairs closer than this many feature pixels (gamma in Eq. 4).
    pub radius: u32,
    /// The L1 distance of Eq. 3 over channels.
    pub distance: Distance,
    /// Output channels of the 1x1 convolutions on the backbone's three levels.
    pub channels: [usize; 3],
    /// Refines the scores, at both exponents, that confident labels come from (Sec. 3.2.1).
    pub crf: Crf,
    /// Side in pixels of the squares over which the refined scores are averaged before the best one names the label:
    /// the stride of the features, 8, in the released code. 1 where absent: every pixel by itself.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub cell: usize,
    /// How the three parts of the loss add up. As in the paper where absent.
    #[serde(default, skip_serializing_if = "AffinityTotal::is_paper")]
    pub loss: AffinityTotal,
    /// How AffinityNet is trained.
    pub training: Training,
}

/// How the parts of AffinityNet's loss (Eq. 7-9) add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AffinityTotal {
    /// fg + bg + 2 neg (Eq. 10).
    #[default]
    Paper,
    /// fg / 4 + bg / 4 + neg / 2, which the released learning rates belong to: a quarter of Eq. 10.
    Released,
}

impl AffinityTotal {
    fn is_paper(&self) -> bool {
        *self == AffinityTotal::Paper
    }
}

fn one() -> usize {
    1
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

/// The random walk (Eq. 11, 12).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propagate {
    /// Background exponent (Eq. 2) of the scores that walk.
    pub alpha: f32,
    /// Exponent of the affinities.
    pub beta: f32,
    /// Length of the walk (t).
    pub steps: u32,
    /// Reach of one step, feature pixels.
    pub radius: u32,
    /// Factor on the image's size for the features that it walks on: a finer grid.
    pub scale: f32,
    /// Background's score in [0, 1] everywhere, in place of that by `alpha`: MCIS for the LID challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

/// Pseudo-labels from scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// How class maps and saliency maps become labels (MCIS), where there are saliency maps. By thresholds where absent.
    #[serde(default, skip_serializing_if = "LabelRule::is_thresholds")]
    pub rule: LabelRule,
    /// Background exponent (AffinityNet Eq. 2) of labels that no random walk precedes (MCIS without saliency maps).
    pub alpha: f32,
    /// Foreground's share of all pixels of all images is kept within this share of that of the class maps beyond their
    /// own threshold, after a random walk or without one (MCIS), by a factor on background's scores ([`Balance`](crate::maps::Balance)). In
    /// [0, 1]; none: it is what it is, as in the papers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreground_within: Option<f32>,
    /// Pixels whose winning score is below this become 255 (ignore); 0 = none.
    pub ignore_below: f32,
    /// Refines the scores after the walk (Sec. 3.4).
    pub crf: Crf,
}

/// How class maps and saliency maps become labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelRule {
    /// By those of `[seeds]`, as CIAN's seeds: background where the saliency is low.
    #[default]
    Thresholds,
    /// The background, 1 - saliency, competes with the class maps ([`competing`](crate::maps::competing)): MCIS's
    /// released `gen_gt.py`.
    Released,
}

impl LabelRule {
    fn is_thresholds(&self) -> bool {
        *self == LabelRule::Thresholds
    }
}

/// Inference of the segmentation network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// Image sizes whose class probabilities are averaged; 1 = the image's own.
    pub scales: Vec<f32>,
    /// Adds the mirrored image at each scale.
    pub flip: bool,
    /// Images of one shape per forward pass.
    pub batch: usize,
    /// What is averaged over sizes and flips. Probabilities where absent.
    #[serde(default, skip_serializing_if = "Average::is_usual")]
    pub average: Average,
    /// Leaves out classes that an image is not tagged with, where its tags are known ("rfpc" in the papers).
    pub use_tags: bool,
    /// Refines the predicted probabilities.
    pub crf: Crf,
}

/// What a segmentation network's predictions are averaged as, and brought to the image's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Average {
    /// Probabilities.
    #[default]
    Probabilities,
    /// Scores before softmax, as RRM's released code has them.
    Logits,
    /// The same with one more size, the largest score over all of them, as CIAN's released code has it.
    Maximum,
}

impl Average {
    fn is_usual(&self) -> bool {
        *self == Average::Probabilities
    }
}

impl Recipe {
    /// How images go into a network with the backbone called `backbone`: as its weights ask for, with what the recipe
    /// says in place of it.
    ///
    /// # Errors
    /// On a backbone that is not known, which no checked recipe has.
    pub fn network_input(&self, backbone: &str) -> Result<NetworkInput> {
        let own = keys::input(backbone)?;
        let range = self.input.range.unwrap_or(own.range);
        let unit = |values: [f32; 3]| values.map(|v| v / range);
        Ok(NetworkInput {
            max_side: self.input.max_side,
            scaling: Scaling {
                bgr: self.input.order.unwrap_or(own.order) == Order::Bgr,
                mean: unit(self.input.mean.unwrap_or(own.mean)),
                std: unit(self.input.std.unwrap_or(own.std)),
            },
        })
    }

    /// What the recipe says of the input against the network's weights, one line; `None` where it says nothing else.
    pub fn foreign_input(&self) -> Option<String> {
        let mut own = self.clone();
        own.input = Input {
            max_side: self.input.max_side,
            order: None,
            range: None,
            mean: None,
            std: None,
        };
        let backbone = &self.backbone.name;
        if own.network_input(backbone).ok()? == self.network_input(backbone).ok()? {
            return None;
        }
        let published = keys::input(backbone).ok()?;
        let order = match published.order {
            Order::Rgb => "rgb",
            Order::Bgr => "bgr",
        };
        Some(format!(
            "the recipe's [input] is not that of the weights of {}, order {order}, range {}, mean {:?}, std {:?}: unset input.order, input.range, input.mean and input.std (--set input.mean=none), unless your weights are others",
            backbone, published.range, published.mean, published.std
        ))
    }
}

#[cfg(test)]
mod tests;
