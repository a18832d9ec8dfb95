//! Networks: a backbone with a head, their parameters by name, and what they compute.

pub mod backbones;
pub mod forward;
pub mod heads;
pub mod params;

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use backbones::Backbone;
use backbones::nano::Nano;
use backbones::resnet38::ResNet38;
use forward::Forward;
use heads::{affinity, cam, segmentation};
use params::{Declarations, Declared, Parameters, Role};

/// What a network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Class logits and class activation maps for C classes.
    Cam {
        /// C, without background.
        classes: usize,
    },
    /// Affinity features with these channels from each level.
    Affinity {
        /// Channels that the three levels are reduced to: 64, 128, 256 in the released code.
        channels: [usize; 3],
    },
    /// Scores for C + 1 classes.
    Segmentation {
        /// C, without background.
        classes: usize,
    },
    /// The CAM head and the segmentation head over one backbone (RRM).
    Joint {
        /// C, without background.
        classes: usize,
    },
}

/// What a joint head gives in one pass over the backbone.
pub struct Joint {
    /// Class logits `[B, C]`.
    pub logits: Tensor<2>,
    /// Segmentation scores `[B, C + 1, h, w]`, background first, before softmax.
    pub scores: Tensor<4>,
    /// The segmentation head's hidden features `[B, D, h, w]`, at least 0.
    pub embedding: Tensor<4>,
}

/// A network: backbone and head.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Feature extractor.
    pub backbone: Backbone,
    /// What is predicted from the features.
    pub head: Head,
}

impl Backbone {
    /// The backbone called `name` with its channels divided by `divisor`. Errors on an unknown name or divisor.
    pub fn named(name: &str, divisor: usize) -> Result<Backbone> {
        match name {
            "nano" if divisor == 1 => Ok(Backbone::Nano(Nano)),
            "nano" => bail!("width_divisor = {divisor}: the nano backbone has one width, 1"),
            "resnet38" if [1, 2, 4, 8, 16, 32].contains(&divisor) => {
                Ok(Backbone::ResNet38(ResNet38 { divisor }))
            }
            "resnet38" => bail!("width_divisor = {divisor}: use 1, 2, 4, 8, 16 or 32"),
            _ => bail!("unknown backbone {name:?}: use \"nano\" or \"resnet38\""),
        }
    }
}

impl Network {
    /// The network's identity in a checkpoint: a checkpoint of another one does not fit.
    pub fn architecture(&self) -> String {
        let head = match self.head {
            Head::Cam { classes } => format!("cam/{classes}"),
            Head::Affinity {
                channels: [a, b, c],
            } => format!("affinity/{a}-{b}-{c}"),
            Head::Segmentation { classes } => format!("segmentation/{classes}"),
            Head::Joint { classes } => format!("joint/{classes}"),
        };
        format!("{}+{head}", self.backbone.name())
    }

    /// All parameters.
    pub fn declare(&self) -> Declarations {
        let mut to = Declarations::default();
        self.backbone.declare(&mut to);
        let channels = self.backbone.channels();
        match self.head {
            Head::Cam { classes } => cam::declare(&mut to, channels[2], classes),
            Head::Affinity { channels: outputs } => affinity::declare(&mut to, channels, outputs),
            Head::Segmentation { classes } => {
                segmentation::declare(&mut to, self.backbone, classes + 1);
            }
            Head::Joint { classes } => {
                cam::declare(&mut to, channels[2], classes);
                segmentation::declare(&mut to, self.backbone, classes + 1);
            }
        }
        to
    }

    /// Whether `parameter` belongs to the head, which is fresh where the backbone is pretrained.
    pub fn is_head(&self, parameter: &str) -> bool {
        let layer = parameter.split('.').next().unwrap_or_default();
        cam::LAYER == layer
            || affinity::LAYERS.contains(&layer)
            || segmentation::LAYERS.contains(&layer)
    }

    /// Fresh parameters: He-normal kernels, unit batch norm, and a last layer near zero, so that training starts from
    /// even odds.
    pub fn init(&self, seed: u64, device: &Device) -> Result<Parameters> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Parameters::init(&self.declare(), device, |p| initial(p, &mut rng))
    }

    /// Images `[B, 3, H, W]` → class logits `[B, C]`. Only for a CAM or joint head.
    pub fn logits(&self, f: &Forward, images: Tensor<4>) -> Tensor<2> {
        cam::logits(f, self.backbone.forward(f, images).high)
    }

    /// Images `[B, 3, H, W]` → class activation maps `[B, C, h, w]`. Only for a CAM or joint head.
    pub fn maps(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        cam::maps(f, self.backbone.forward(f, images).high)
    }

    /// Images `[B, 3, H, W]` → affinity features `[B, D, h, w]`. Only for an affinity head.
    pub fn affinity_features(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        affinity::features(f, self.backbone.forward(f, images))
    }

    /// Images `[B, 3, H, W]` → segmentation scores `[B, C + 1, h, w]`. Only for a segmentation or joint head.
    pub fn scores(&self, f: &Forward, images: Tensor<4>) -> Tensor<4> {
        let features = self.backbone.forward(f, images).high;
        let embedding = segmentation::embedding(f, self.backbone, features);
        segmentation::scores(f, self.backbone, embedding)
    }

    /// Images `[B, 3, H, W]` → what both heads give. Only for a joint head.
    pub fn joint(&self, f: &Forward, images: Tensor<4>) -> Joint {
        let features = self.backbone.forward(f, images).high;
        let embedding = segmentation::embedding(f, self.backbone, features.clone());
        Joint {
            logits: cam::logits(f, features),
            scores: segmentation::scores(f, self.backbone, embedding.clone()),
            embedding,
        }
    }
}

fn initial(p: &Declared, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let n = p.shape.iter().product();
    match p.role {
        Role::Scale | Role::Variance => vec![1.0; n],
        Role::Shift | Role::Mean | Role::Bias => vec![0.0; n],
        Role::Kernel => {
            let fan_in: usize = p.shape[1..].iter().product();
            let layer = p.name.split('.').next();
            let last = layer == Some(cam::LAYER) || layer == Some(segmentation::LAYERS[1]);
            let gain = if last { 0.1 } else { 2.0f32.sqrt() };
            let deviation = gain / (fan_in.max(1) as f32).sqrt();
            match Normal::new(0.0, deviation) {
                Ok(normal) => normal.sample_iter(rng).take(n).collect(),
                Err(_) => vec![0.0; n],
            }
        }
    }
}
