//! Hyper-parameters of a training stage.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::backbones::{BackboneSettings, Part};
use super::segment_head::SegmentHead;

/// One training stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// The network's, in place of the recipe's; only in `[segment]`, whose section is a training. Other sections have
    /// it beside theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSettings>,
    /// The network's head; only in `[segment]`. The backbone's own where absent.
    #[serde(default, skip_serializing_if = "SegmentHead::is_usual")]
    pub head: SegmentHead,
    /// Passes over the training images; may be a fraction.
    pub epochs: f32,
    /// Steps that it takes at least, however few images there are. 0 where absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub least_steps: usize,
    /// Images per step.
    pub batch: usize,
    /// Steps between two checkpoints.
    pub checkpoint_every: usize,
    /// Gradient checkpointing: computes the backbone's feature maps again in the backward pass instead of keeping them,
    /// which takes less memory and more time. Off where absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checkpointing: bool,
    /// Trains the head alone and leaves the backbone as it is, which takes a third of the time. Off where absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub head_alone: bool,
    /// The same where there are fewer images than this, which a whole network would learn by heart. 0 where absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub head_alone_below: usize,
    /// Trains every level of a pretrained backbone, also those that usually stay as they are; batch norms stay. Off
    /// where absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// Starts from the backbone's pretrained weights alone, not from what the method's first classifier has learnt. Off
    /// where absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_weights: bool,
    /// The optimizer and its schedule.
    pub optimizer: Optimizer,
    /// Random changes of each image.
    pub augment: AugmentSettings,
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// An optimizer and its learning rate schedule, chosen by `name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// AdamW with a one-cycle schedule, for training from scratch.
    Adamw {
        /// Peak learning rate.
        lr: f32,
        /// Decoupled weight decay.
        weight_decay: f32,
        /// Decay of the mean gradient, in [0, 1).
        beta1: f32,
        /// Decay of the mean squared gradient, in [0, 1).
        beta2: f32,
        /// Share of the steps in which the rate rises, in [0, 1].
        warmup: f32,
        /// Factor on the rate of the head; a mean over the image leaves a classifier small gradients.
        fresh_lr_factor: f32,
    },
    /// SGD with momentum, without dampening, and poly decay `(1 - step / steps)^power` or a decay in steps, for
    /// pretrained backbones.
    Sgd {
        /// Learning rate of pretrained weights at the first step.
        lr: f32,
        /// v = momentum * v + gradient.
        momentum: f32,
        /// Nesterov's momentum: the step is gradient + momentum * v. Off where absent.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        nesterov: bool,
        /// L2 decay added to the gradient of weights; biases have none.
        weight_decay: f32,
        /// Exponent of the poly decay.
        power: f32,
        /// Epochs after each of which the rate is a tenth of what it was, in place of the poly decay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenth_every: Option<f32>,
        /// Factor on the rate of biases.
        bias_lr_factor: f32,
        /// Factor on the rate of layers that are not pretrained; for their biases it multiplies the other one.
        fresh_lr_factor: f32,
    },
}

/// Random changes of a training image, with its maps and labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentSettings {
    /// Least and greatest length of the longer side after resizing, pixels; `None` keeps the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_side: Option<[u32; 2]>,
    /// Resizes the whole image to the crop's square, whatever its shape is, in place of `long_side`. Off where absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub squash: bool,
    /// Side of the square crop, pixels; smaller images are padded.
    pub crop: u32,
    /// Greatest random translation, pixels.
    pub shift: u32,
    /// Mirror half of the images.
    pub flip: bool,
    /// Brightness, contrast and saturation (factors in 1 ± x) and hue (± turns).
    pub jitter: [f32; 4],
}

impl Optimizer {
    /// What an optimizer starts from when a recipe that names another is overridden; `None` for an unknown name.
    pub(super) fn usual(name: &str) -> Option<Self> {
        match name {
            "adamw" => Some(Self::Adamw {
                lr: 4e-3,
                weight_decay: 1e-4,
                beta1: 0.9,
                beta2: 0.999,
                warmup: 0.3,
                fresh_lr_factor: 1.0,
            }),
            "sgd" => Some(Self::Sgd {
                lr: 0.1,
                momentum: 0.9,
                nesterov: false,
                weight_decay: 5e-4,
                power: 0.9,
                tenth_every: None,
                bias_lr_factor: 2.0,
                fresh_lr_factor: 10.0,
            }),
            _ => None,
        }
    }
}

impl Training {
    /// Whether the head alone is trained on this many images.
    pub fn is_of_head(&self, images: usize) -> bool {
        self.head_alone || images < self.head_alone_below
    }

    /// Rejects values that no training can work with; `key` is where this stands in the recipe.
    pub(super) fn check(&self, key: &str) -> Result<()> {
        ensure!(
            self.backbone.is_none() || key == "segment",
            "{key}.backbone: it belongs into {}",
            Part::sections()
        );
        ensure!(
            self.head.is_usual() || key == "segment",
            "{key}.head: only the network of [segment] has a choice of heads: set segment.head"
        );
        ensure!(
            !(self.whole && self.head_alone),
            "{key}.whole and {key}.head_alone are both true, but either every level trains or the head alone: set one of them to false"
        );
        ensure!(
            self.epochs.is_finite() && self.epochs > 0.0,
            "{key}.epochs is {}: use a positive number",
            self.epochs
        );
        for (name, value) in [
            ("batch", self.batch),
            ("checkpoint_every", self.checkpoint_every),
            ("augment.crop", self.augment.crop as usize),
        ] {
            ensure!(value >= 1, "{key}.{name} is {value}: use at least 1");
        }
        if let Some([least, greatest]) = self.augment.long_side {
            ensure!(
                1 <= least && least <= greatest,
                "{key}.augment.long_side is [{least}, {greatest}]: use [least, greatest], at least 1"
            );
        }
        let jitter = self.augment.jitter;
        ensure!(
            jitter.iter().all(|x| (0.0..=1.0).contains(x)),
            "{key}.augment.jitter is {jitter:?}: use numbers from 0 to 1"
        );
        let (Optimizer::Adamw { lr, .. } | Optimizer::Sgd { lr, .. }) = self.optimizer;
        ensure!(
            lr.is_finite() && lr > 0.0,
            "{key}.optimizer.lr is {lr}: use a positive number"
        );
        if let Optimizer::Sgd {
            tenth_every: Some(every),
            ..
        } = self.optimizer
        {
            ensure!(
                every.is_finite() && every > 0.0,
                "{key}.optimizer.tenth_every is {every}: use a positive number"
            );
        }
        if let Optimizer::Adamw {
            beta1, beta2, warmup, ..
        } = self.optimizer
        {
            for (name, beta) in [("beta1", beta1), ("beta2", beta2)] {
                let good = (0.0..1.0).contains(&beta);
                ensure!(good, "{key}.optimizer.{name} is {beta}: use a number from 0 to below 1");
            }
            ensure!(
                (0.0..=1.0).contains(&warmup),
                "{key}.optimizer.warmup is {warmup}: use a number from 0 to 1"
            );
        }
        Ok(())
    }
}
